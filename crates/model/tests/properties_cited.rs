//! What `specs/properties.md` says of the tests is so, and what the tests say of the page too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use cdc_model::invariants::Invariant;

/// How many properties the design document has.
const PROPERTIES: u32 = 26;

/// A property as the page has it.
struct Property {
    title: String,
    /// True where the page says that nothing shows it yet.
    is_open: bool,
    citations: Vec<Citation>,
}

/// A test that the page names.
struct Citation {
    /// From the repository's root.
    file: String,
    test: String,
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// The page's properties by their numbers.
fn page() -> BTreeMap<u32, Property> {
    let mut properties: BTreeMap<u32, Property> = BTreeMap::new();
    let mut current = None;
    for line in read(&root().join("specs/properties.md")).lines() {
        if let Some((number, title)) = line.strip_prefix("## ").and_then(tag_in) {
            let property = Property { title: title.to_owned(), is_open: false, citations: Vec::new() };
            assert!(properties.insert(number, property).is_none(), "property {number} stands there twice");
            current = Some(number);
        } else if line.starts_with("## ") {
            current = None;
        } else if let Some(property) = current.and_then(|number| properties.get_mut(&number)) {
            if line == "Shown by: open" {
                property.is_open = true;
            } else if let Some(item) = line.strip_prefix("- ") {
                let Some(citation) = citation(item) else { panic!("this is no citation: {line}") };
                property.citations.push(citation);
            }
        }
    }
    properties
}

/// `Property N: title` in a line: the number and the title.
fn tag_in(line: &str) -> Option<(u32, &str)> {
    line.match_indices("Property ").find_map(|(at, word)| {
        let (number, title) = line[at + word.len()..].split_once(':')?;
        Some((number.parse().ok()?, title.trim()))
    })
}

/// File and test, each in back quotes, a dot between them; whatever follows is a remark.
fn citation(item: &str) -> Option<Citation> {
    let (file, rest) = item.strip_prefix('`')?.split_once("` · `")?;
    let (test, _) = rest.split_once('`')?;
    Some(Citation { file: file.to_owned(), test: test.to_owned() })
}

/// The lines of a test's doc comment and its attributes, the last one first; `None` where there is no such function.
fn above<'s>(source: &'s str, test: &str) -> Option<Vec<&'s str>> {
    let declaration = format!("fn {test}(");
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let at = lines.iter().position(|line| line.contains(&declaration))?;
    let above = lines.into_iter().take(at).rev();
    let is_above = |line: &&str| line.starts_with("///") || line.starts_with("#[");
    Some(above.take_while(is_above).collect())
}

/// True for the attribute that makes a function a test.
fn makes_a_test(line: &str) -> bool {
    line.starts_with("#[test]") || line.starts_with("#[tokio::test")
}

/// The name of the function that a line declares.
fn function_in(line: &str) -> Option<&str> {
    let (_, rest) = line.trim_start().split_once("fn ")?;
    let name = rest.split(|char: char| !char.is_alphanumeric() && char != '_').next()?;
    let before = line.trim_start().split("fn ").next()?;
    (!name.is_empty() && ["", "async ", "pub(crate) "].contains(&before)).then_some(name)
}

/// Every Rust source below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn the_page_has_every_property_and_says_what_shows_it() {
    let properties = page();
    assert!(properties.keys().copied().eq(1..=PROPERTIES), "{:?}", properties.keys());
    for (number, property) in &properties {
        assert_eq!(
            property.is_open,
            property.citations.is_empty(),
            "property {number} is either open or shown by at least one test"
        );
    }
}

#[test]
fn every_cited_test_exists_and_cites_its_property() {
    for (number, property) in page() {
        for Citation { file, test } in property.citations {
            let source = read(&root().join(&file));
            let Some(above) = above(&source, &test) else {
                panic!("property {number}: there is no test {test} in {file}");
            };
            assert!(
                above.iter().any(|line| makes_a_test(line))
                    && !above.iter().any(|line| line.contains("ignore")),
                "property {number}: {test} in {file} is no test that runs"
            );
            assert!(
                above
                    .iter()
                    .filter(|line| line.starts_with("///"))
                    .any(|line| tag_in(line).is_some_and(|(cited, _)| cited == number)),
                "property {number}: the doc comment of {test} in {file} does not cite it"
            );
        }
    }
}

/// The rows of the table of invariants: id and citation.
fn invariants() -> Vec<(String, Citation)> {
    let page = read(&root().join("specs/properties.md"));
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| S")?.trim_end_matches(" |").split(" | ");
        let id = format!("S{}", cells.next()?);
        Some((id, citation(cells.nth(1)?)?))
    });
    rows.collect()
}

#[test]
fn every_invariant_of_the_whole_has_its_row_and_a_test() {
    let rows = invariants();
    let named: Vec<&str> = rows.iter().map(|(id, _)| id.as_str()).collect();
    let all: Vec<&str> = Invariant::ALL.iter().map(|invariant| invariant.id()).collect();
    assert_eq!(named, all, "the page and the code name the same invariants");
    for (id, Citation { file, test }) in &rows {
        let source = read(&root().join(file));
        let is_test = above(&source, test).is_some_and(|lines| lines.iter().any(|line| makes_a_test(line)));
        assert!(is_test, "{id}: there is no test {test} in {file}");
    }
}

#[test]
fn every_test_that_cites_a_property_has_its_line_in_the_page() {
    let properties = page();
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        if let Err(error) = sources(&root().join(folder), &mut files) {
            panic!("{folder}: {error}");
        }
    }
    let mut missing = Vec::new();
    for path in files {
        let Ok(file) = path.strip_prefix(root()) else { panic!("{} is not below the root", path.display()) };
        let mut cited = Vec::new();
        for line in read(&path).lines() {
            if let Some((number, _)) = line.trim_start().strip_prefix("///").and_then(tag_in) {
                cited.push(number);
            } else if let Some(test) = function_in(line) {
                for number in cited.drain(..) {
                    let is_there = properties.get(&number).is_some_and(|property| {
                        property.citations.iter().any(|it| Path::new(&it.file) == file && it.test == test)
                    });
                    if !is_there {
                        missing.push(format!("property {number}: `{}` · `{test}`", file.display()));
                    }
                }
            }
        }
        assert!(cited.is_empty(), "{}: a citation of {cited:?} stands above no test", file.display());
    }
    assert!(missing.is_empty(), "the page lacks\n{}", missing.join("\n"));
}

#[test]
fn every_tag_names_the_title_of_its_property() {
    let properties = page();
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        if let Err(error) = sources(&root().join(folder), &mut files) {
            panic!("{folder}: {error}");
        }
    }
    let mut tags = 0;
    for file in files {
        for (line, text) in (1..).zip(read(&file).lines()) {
            let Some((number, title)) = text.trim_start().strip_prefix("//").and_then(tag_in) else {
                continue;
            };
            let Some(property) = properties.get(&number) else {
                panic!("{}:{line}: there is no property {number}", file.display());
            };
            assert_eq!(title, property.title, "{}:{line}: property {number}", file.display());
            tags += 1;
        }
    }
    assert!(tags > 0, "no test cites a property");
}
