//! ARCHITECTURE.md's index: each row names a file that exists, and items that stand in it.

use crate::{cells, links_of, quoted, read, root, table_under};

const PAGE: &str = "ARCHITECTURE.md";
/// The headings of tables whose second cell links files and whose third names items of them.
const INDEX: &str = "### Where is …?";
const WALK: &str = "## One event, from the oplog to the row";
const QUESTIONS: &str = "### Ten questions";

/// True where a source defines an item of this name: a word of Rust's, then the name, then no letter.
fn defines(source: &str, item: &str) -> bool {
    let name = item.trim_end_matches("()").trim_end_matches('!');
    let words = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "macro_rules!"];
    let is_whole = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    words.iter().any(|word| {
        let declaration = format!("{word} {name}");
        source.match_indices(&declaration).any(|(at, _)| is_whole(&source[at + declaration.len()..]))
    }) || is_row(source, name)
}

/// True of a variant, or a row of a table of requests, at the beginning of a line.
fn is_row(source: &str, name: &str) -> bool {
    source.lines().any(|line| {
        let rest = line.trim_start().strip_prefix(name).unwrap_or_default();
        rest.starts_with([',', '(', '{', ':', ';']) || rest.starts_with(" {") || rest.starts_with(" =>")
    })
}

fn check_rows(heading: &str, rows_min: usize) {
    let page = read(PAGE);
    let rows = table_under(&page, heading);
    assert!(rows.len() >= rows_min, "{heading}: {} rows", rows.len());
    for row in rows {
        let [what, files, items] = cells(row)[..] else { panic!("a row has three cells: {row}") };
        assert!(!what.is_empty(), "{row}");
        let sources: Vec<(&str, String)> = links_of(files).map(|(_, file)| (file, read(file))).collect();
        assert!(!sources.is_empty(), "{what}: no file");
        let items: Vec<&str> = quoted(items).collect();
        assert!(!items.is_empty(), "{what}: no item");
        for item in &items {
            assert!(
                sources.iter().any(|(_, source)| defines(source, item)),
                "{what}: no {item} in its files"
            );
        }
        for (file, source) in &sources {
            assert!(items.iter().any(|item| defines(source, item)), "{what}: no item of {file}");
        }
    }
}

#[test]
fn each_row_of_the_index_names_a_file_and_an_item_that_exist() {
    check_rows(INDEX, 30);
}

#[test]
fn each_step_of_the_walk_names_a_file_and_an_item_that_exist() {
    check_rows(WALK, 10);
}

#[test]
fn each_of_the_ten_questions_names_a_file_and_an_item_that_exist() {
    check_rows(QUESTIONS, 10);
}

#[test]
fn each_folder_of_crates_stands_in_the_table_of_crates() {
    let page = read(PAGE);
    let crates = std::fs::read_dir(root().join("crates")).expect("the folder of crates");
    for entry in crates {
        let name = entry.expect("a folder").file_name().into_string().expect("a name of ASCII");
        assert!(page.contains(&format!("[`{name}`](crates/{name})")), "{name} is not in the table of crates");
    }
}
