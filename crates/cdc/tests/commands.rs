//! The binary, as a shell meets it.

mod common;

use common::{Outcome, cdc, example};

#[test]
fn every_example_is_valid_and_its_kind_is_known() {
    for (name, kind) in [
        ("watcher.yaml", "watcher"),
        ("syncer.yaml", "syncer"),
        ("pipeline.yaml", "pipeline"),
        ("watcher-to-the-letter.yaml", "watcher"),
        ("syncer-to-the-letter.yaml", "syncer"),
    ] {
        let Outcome { code, stdout, stderr } = cdc(&["validate", "--offline", "-c", &example(name)], &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
        assert_eq!(stdout, format!("the {kind}'s configuration is valid; no server was asked\n"), "{name}");
    }
}

#[test]
fn a_topic_that_does_not_tell_its_collection_is_refused_with_the_line_to_add() {
    let syncer = example("syncer.yaml");
    let Outcome { code, stdout, stderr } =
        cdc(&["validate", "--offline", "-c", &syncer], &[("CDC__KAFKA__TOPIC", "players")]);
    assert_eq!((code, stdout.as_str()), (78, ""));
    let line = "write under kafka: namespaces: {\"players\": \"<database>.<collection>\"}";
    assert!(stderr.contains(line), "{stderr}");
    let bound = [("CDC__KAFKA__TOPIC", "players"), ("CDC__KAFKA__NAMESPACES", "players=game_db.players")];
    assert_eq!(cdc(&["validate", "--offline", "-c", &syncer], &bound).code, 0);

    let watcher = ["validate", "--offline", "-c", &example("watcher.yaml")];
    let Outcome { code, stdout, .. } = cdc(&watcher, &[("CDC__KAFKA__TOPIC", "players")]);
    assert_eq!(code, 0);
    let line = "write under kafka: namespaces: {\"players\": \"game_db.players\"}";
    assert!(stdout.contains(line), "{stdout}");
}

#[test]
fn a_refused_configuration_exits_with_78_and_tells_everything() {
    let variables = [("CDC__KAFKA__TOPCI", "orders"), ("CDC__KAFKA__BATCH_SIZE", "0")];
    let watcher = example("watcher.yaml");
    let Outcome { code, stdout, stderr } = cdc(&["validate", "--offline", "-c", &watcher], &variables);
    assert_eq!((code, stdout.as_str()), (78, ""));
    assert_eq!(
        stderr,
        "cdc: the configuration is refused for 2 reasons\n  \
         environment variable CDC__KAFKA__BATCH_SIZE: kafka.batch_size: \"0\" is not legal; legal: a whole number from 1 to 1000000\n  \
         environment variable CDC__KAFKA__TOPCI: unknown key kafka.topci; did you mean CDC__KAFKA__TOPIC?\n"
    );
}

#[test]
fn files_of_no_service_or_of_two_are_refused() {
    let both = ["validate", "--offline", "-c", &example("watcher.yaml"), "-c", &example("syncer.yaml")];
    let Outcome { code, stderr, .. } = cdc(&both, &[]);
    assert_eq!(code, 78);
    assert!(stderr.contains("keys of different services stand side by side"), "{stderr}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nothing.yaml");
    std::fs::write(&file, "# nothing\n").unwrap();
    let Outcome { code, stderr, .. } =
        cdc(&["validate", "--offline", "-c", &file.display().to_string()], &[]);
    assert_eq!(code, 78);
    assert!(stderr.contains("neither a watcher's configuration"), "{stderr}");
}

#[test]
fn live_validation_says_that_it_is_not_there_yet() {
    let Outcome { code, stderr, .. } = cdc(&["validate", "-c", &example("watcher.yaml")], &[]);
    assert_eq!((code, stderr.as_str()), (2, "cdc: live validation is not available yet; use --offline\n"));
}

/// The image's entry point gives each service a weakest file, so that it listens where others reach it.
#[test]
fn the_image_s_weakest_files_are_valid_below_the_examples() {
    for (command, file) in [("watch", "watcher"), ("sync", "syncer"), ("run", "pipeline")] {
        let weakest = example(&format!("../deploy/container/{command}.yaml"));
        let Outcome { code, stderr, .. } =
            cdc(&["validate", "--offline", "-c", &weakest, "-c", &example(&format!("{file}.yaml"))], &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{command}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    assert_eq!(cdc(&["validate", "--offline"], &[]).code, 2);
    assert_eq!(cdc(&["wach"], &[]).code, 2);
    assert_eq!(cdc(&["graph", "mongodb"], &[]).code, 2);
}

#[test]
fn help_has_the_exit_codes_and_version_has_the_commit() {
    let help = cdc(&["--help"], &[]);
    assert_eq!(help.code, 0);
    for code in [
        "0  clean",
        "65  a person",
        "69  a dep",
        "70  a bug",
        "74  this",
        "75  temp",
        "77  auth",
        "78  the conf",
    ] {
        assert!(help.stdout.contains(code), "{code} is missing in\n{}", help.stdout);
    }
    let version = cdc(&["--version"], &[]);
    let commit =
        version.stdout.trim_end().strip_prefix("cdc 0.1.0 (").and_then(|rest| rest.strip_suffix(')'));
    assert!(commit.is_some_and(|commit| !commit.is_empty()), "{}", version.stdout);
}

#[test]
fn a_store_without_a_token_shows_null() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("token_storage.file.path={}", folder.path().join("token.dat").display());
    for json in [&[][..], &["--json"][..]] {
        let watcher = example("watcher.yaml");
        let mut arguments =
            vec!["token", "show", "-c", &watcher, "--set", "token_storage.type=file", "--set", &path];
        arguments.extend(json);
        let Outcome { code, stdout, stderr } = cdc(&arguments, &[]);
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "null\n", ""));
    }
}

#[test]
fn a_syncer_has_no_token() {
    let Outcome { code, stderr, .. } = cdc(&["token", "show", "-c", &example("syncer.yaml")], &[]);
    assert_eq!(code, 78);
    assert_eq!(stderr, "cdc: a syncer has no resume token; give the watcher's configuration\n");
}

#[test]
fn graphs_come_in_two_languages() {
    for service in ["watcher", "syncer"] {
        let mermaid = cdc(&["graph", service], &[]);
        assert_eq!(mermaid.code, 0);
        assert!(mermaid.stdout.contains("stateDiagram"), "{}", mermaid.stdout);
        let dot = cdc(&["graph", service, "--format", "dot"], &[]);
        assert!(dot.stdout.starts_with("digraph"), "{}", dot.stdout);
        for state in ["Connecting", "Streaming", "AwaitingAck", "SavingToken", "Draining", "Stopped"] {
            assert!(mermaid.stdout.contains(state) && dot.stdout.contains(state), "{state}");
        }
    }
}

#[test]
fn gaps_are_listed_for_whichever_service_the_files_configure() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("token_storage.file.path={}", folder.path().join("token.dat").display());
    let watcher = example("watcher.yaml");
    let store = ["-c", &watcher, "--set", "token_storage.type=file", "--set", &path];
    let Outcome { code, stdout, stderr } = cdc(&[&["gaps", "list"][..], &store].concat(), &[]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "no gaps\n", ""));
    let Outcome { code, stdout, .. } = cdc(&[&["gaps", "list", "--json"][..], &store].concat(), &[]);
    assert_eq!((code, stdout.as_str()), (0, "[]\n"));
    let Outcome { code, stdout, .. } = cdc(&[&["gaps", "acknowledge"][..], &store].concat(), &[]);
    assert_eq!((code, stdout.as_str()), (0, "watcher: 0 gaps acknowledged\n"));
    // Both services' files: the Syncer's server is asked too, and is not there.
    let syncer = example("syncer.yaml");
    let nowhere = ["postgres.host=127.0.0.1", "postgres.port=1", "postgres.connection_timeout=1s"];
    let both = ["-c", &syncer, "--set", nowhere[0], "--set", nowhere[1], "--set", nowhere[2]];
    let Outcome { code, stderr, .. } = cdc(&[&["gaps", "list"][..], &store, &both].concat(), &[]);
    assert_eq!(code, 69, "{stderr}");
}

#[test]
fn only_a_watcher_has_partitions_on_record() {
    let Outcome { code, stderr, .. } = cdc(&["token", "repartition", "-c", &example("syncer.yaml")], &[]);
    assert_eq!(code, 78);
    assert_eq!(stderr, "cdc: a syncer has no resume token; give the watcher's configuration\n");
}

#[test]
fn dead_letters_are_named_and_selected_before_any_server_is_asked() {
    let (watcher, syncer) = (example("watcher.yaml"), example("syncer.yaml"));
    let Outcome { code, stdout, stderr } = cdc(&["dead-letters", "list", "-c", &watcher], &[]);
    assert_eq!((code, stdout.as_str()), (78, ""));
    assert!(stderr.contains("give the syncer's configuration"), "{stderr}");
    for (arguments, word) in [
        (&["discard", "--because", "a test"][..], "--yes discards all open ones"),
        (&["show", "17"], "<dead-letter topic>/<partition>/<offset>"),
        (&["list", "--since", "soon"], "2h for two hours ago"),
        (&["list", "--reason", "bad"], "possible values: malformed"),
        (&["replay", "t/0/1", "--limit", "1"], "not both"),
        (
            &["list", "--topic", "nobody.s"],
            "--topic nobody.s is none of this configuration's topics; they are ",
        ),
        (&["show", "t/0/1"], "t is none of this configuration's dead-letter topics"),
        (&["replay", "t/0/1", "t/0/1"], "t is none of this configuration's dead-letter topics"),
        (
            &["discard", "t/0/1", "--because", "a test"],
            "t is none of this configuration's dead-letter topics",
        ),
    ] {
        let all = [&["dead-letters"], arguments, &["-c", &syncer]].concat();
        let Outcome { code, stderr, .. } = cdc(&all, &[]);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
}
