//! `docs/configuration.md` says what the code reads. Where `UPDATE_SPECS` is set (`make specs`) it is written anew.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use cdc::config::{Described, Kind, Preset, Shape, bytes, described, duration, variable_of};

/// Who uses a section of a file, beside the service itself.
const ALSO_USED_BY: [(&str, &str, &str); 7] = [
    ("watcher.yaml", "mongodb", "`cdc token reset`, `cdc token repartition`"),
    ("watcher.yaml", "kafka", "`cdc token reset`, `cdc token repartition`, `cdc dead-letters`"),
    ("watcher.yaml", "token_storage", "`cdc token`, `cdc gaps`"),
    ("watcher.yaml", "dead_letter", "`cdc dead-letters`"),
    ("syncer.yaml", "kafka", "`cdc token repartition`, `cdc dead-letters`"),
    ("syncer.yaml", "postgres", "`cdc gaps`, `cdc dead-letters`"),
    ("syncer.yaml", "dead_letter", "`cdc dead-letters`"),
];

fn page() -> String {
    let mut page = "\
# Every option

Generated from the code that reads them; `make specs` writes it anew. Nothing else is read: an unknown key is an error.

A later layer wins, key by key: defaults, files (`-c`, in their order), environment variables, `--set key=value`. In a
pipeline's file for `cdc run` the keys stand under `watcher:` and `syncer:`, and the variables are called
`CDC__WATCHER__…` and `CDC__SYNCER__…`. Outside a file a list is written with commas between its items. Durations and
sizes carry their units (`10s`, `32MiB`). `max_retries` counts what follows the first try. A secret may stand in a file of
its own, or in a variable; on the command line it is refused.

`cdc config print -c FILE` shows what holds and where each key was written, with `--defaults` also the keys that nobody
has set; `cdc config schema watcher` prints a JSON Schema for an editor; `cdc validate --offline -c FILE` tells everything
that is wrong.
"
    .to_owned();
    for (kind, file, command) in
        [(Kind::Watcher, "watcher.yaml", "cdc watch"), (Kind::Syncer, "syncer.yaml", "cdc sync")]
    {
        let _infallible = write!(page, "\n## `{file}`\n\nUsed by `{command}` and `cdc run`.\n");
        let options = described(kind);
        for section in sections(&options) {
            let _infallible = match section {
                None => write!(page, "\n### At the top\n\n"),
                Some(name) => write!(page, "\n### `{name}`\n\n"),
            };
            let also = ALSO_USED_BY.iter().find(|(of, name, _)| *of == file && Some(*name) == section);
            if let Some((_, _, also)) = also {
                let _infallible = write!(page, "Also used by {also}.\n\n");
            }
            page.push_str("| key, and its variable | legal | default | |\n|---|---|---|---|\n");
            for option in options.iter().filter(|option| section_of(option) == section) {
                page.push_str(&row(option));
                if let Shape::Sections(entry) = &option.shape {
                    entry.iter().for_each(|inner| page.push_str(&inner_row(option, inner)));
                }
            }
        }
    }
    page
}

/// The section that an option stands in; `None` at the top.
fn section_of(option: &Described) -> Option<&str> {
    option.path.split_once('.').map(|(section, _)| section)
}

/// Each section once, the top first.
fn sections(options: &[Described]) -> Vec<Option<&str>> {
    let mut sections = vec![None];
    for section in options.iter().map(section_of) {
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    sections
}

fn row(option: &Described) -> String {
    let mut text = linked(&option.text);
    if let Shape::Words(words) = &option.shape {
        for (word, meaning) in words {
            let _infallible = write!(text, "<br>`{word}`: {}", linked(meaning));
        }
    }
    let default = match &option.preset {
        Preset::Required => "required".to_owned(),
        Preset::Nothing => "none".to_owned(),
        Preset::Is(value) => format!("`{value}`"),
        Preset::Said(words) => (*words).to_owned(),
    };
    let mut variable = variable_of(&option.path);
    // Each of somebody else's keys has a variable of its own.
    if matches!(option.shape, Shape::Pairs { is_secret: true }) {
        variable.push_str("__…");
    }
    format!("| `{}`<br>`{variable}` | {} | {default} | {text} |\n", option.path, legal(option))
}

/// An option of a list's sections, which no variable sets.
fn inner_row(list: &Described, option: &Described) -> String {
    let mut named = option.clone();
    named.path = format!("{}[].{}", list.path, option.path);
    row(&named).replacen(&format!("<br>`{}`", variable_of(&named.path)), "", 1)
}

fn legal(option: &Described) -> String {
    let legal = match &option.shape {
        Shape::Text(None) => "text".to_owned(),
        Shape::Text(Some(legal)) => legal.clone(),
        Shape::List => "one, or a list".to_owned(),
        Shape::Number { from, to } => format!("{from} to {to}"),
        Shape::Duration { from, to } => format!("a duration, {} to {}", duration(*from), duration(*to)),
        Shape::Bytes { from, to } => format!("a size, {} to {}", bytes(*from), bytes(*to)),
        Shape::Share => "0 to 1, with up to six decimal places".to_owned(),
        Shape::NumberOr { from, to, other } => format!("{from} to {to}, `{other}`"),
        Shape::Words(words) => {
            words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Shape::Switch => "`true`, `false`".to_owned(),
        Shape::Secret => "text, never shown".to_owned(),
        Shape::Sections(_) => "a list of sections".to_owned(),
        Shape::Pairs { .. } => "keys, each with a value".to_owned(),
    };
    match option.cap {
        Some(cap) => format!("{legal}; at most `{cap}`"),
        None => legal,
    }
}

/// The text with links in place of the names of pages.
fn linked(text: &str) -> String {
    let mut linked = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("docs/") {
        let (name, behind) = after.split_once(".md").unwrap_or((after, ""));
        let _infallible = write!(linked, "{before}[{}]({name}.md)", name.replace('-', " "));
        rest = behind;
    }
    linked + rest
}

#[test]
fn the_page_says_what_the_code_reads() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md"));
    let page = page();
    if env::var_os("UPDATE_SPECS").is_some() {
        assert!(fs::write(path, &page).is_ok(), "{} cannot be written", path.display());
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, page, "docs/configuration.md is stale: make specs");
}

#[test]
fn every_option_is_listed_once_with_its_text() {
    for kind in [Kind::Watcher, Kind::Syncer, Kind::Pipeline] {
        let options = described(kind);
        for (at, option) in options.iter().enumerate() {
            assert!(option.text.ends_with(['.', '`']), "{}: {:?}", option.path, option.text);
            assert!(
                !options[..at].iter().any(|other| other.path == option.path),
                "{} is read twice",
                option.path
            );
            if let Shape::Words(words) = &option.shape {
                assert!(words.iter().all(|(_, text)| text.ends_with('.')), "{words:?}");
            }
        }
    }
}

/// What the page links to is there.
#[test]
fn the_pages_that_texts_name_exist() {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    for target in page().split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(docs.join(target).exists(), "{target}");
    }
}
