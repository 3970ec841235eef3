//! Files depend on each other in one direction. A reader who follows `use` comes to an end, and a file can be
//! understood, tested and moved with what lies below it.
//!
//! An edge leads from a file to the file that defines what it names by `crate::`, `super::` or `self::`; a re-export is
//! followed to the definition. What only tests name does not count, nor does the declaration `mod x;`. A file may name
//! what its parent defines, and the other way round: the parent's file is where the children share it.

#![expect(clippy::expect_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module or an item, without `crate`.
type Names = Vec<String>;

/// One file of a crate.
struct File {
    path: PathBuf,
    /// What it names, as written: the first segment is `crate`, `self`, `super` or a child.
    named: Vec<Names>,
    /// What it shows as its own, by the name that it shows it under.
    shown: Vec<(String, Names)>,
}

/// The files of one crate, by their modules.
struct Files(BTreeMap<Names, File>);

#[test]
fn no_files_depend_on_each_other_in_a_circle() {
    let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize().expect("the crates");
    let mut names: Vec<String> = fs::read_dir(&crates)
        .expect("the crates")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a crate's name"))
        .filter(|name| crates.join(name).join("src").is_dir())
        .collect();
    names.sort();
    let mut found = Vec::new();
    for name in &names {
        if let Some(circle) = Files::of(&crates.join(name).join("src")).circle() {
            found.push(format!("{name}: {}", circle.join(" -> ")));
        }
    }
    assert!(found.is_empty(), "move what two files share below both of them:\n{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_through_a_re_export() {
    let file = |text: &str| File::read(PathBuf::new(), text);
    let module = |name: &str| vec![name.to_owned()];
    let shows = "mod a;\nmod b;\npub(crate) use a::{One, Other as Two};";
    let files = |a: &str, b: &str| {
        Files([(Vec::new(), file(shows)), (module("a"), file(a)), (module("b"), file(b))].into())
    };
    let b = "use crate::Two; // use crate::b::Three";
    assert_eq!(files("use std::fmt;", b).circle(), None);
    assert_eq!(files("#[cfg(test)]\nmod tests {\n    use crate::b::Three;\n}\n", b).circle(), None);
    assert!(files("fn f() { crate::b::three() }", b).circle().is_some());
    assert!(files("use super::{b::{self, Three}};", b).circle().is_some());
}

impl Files {
    fn of(src: &Path) -> Self {
        let (mut files, mut tested) = (BTreeMap::new(), Vec::<Names>::new());
        let mut folders = vec![(src.to_owned(), Names::new())];
        while let Some((folder, module)) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
                let child = || module.iter().cloned().chain([stem.clone()]).collect::<Names>();
                let is_program = stem == "bin" || stem == "main" && folder.join("lib.rs").exists();
                if is_program {
                    // It names its library as another crate.
                } else if path.is_dir() {
                    folders.push((path.clone(), child()));
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let module =
                        if matches!(&*stem, "lib" | "main" | "mod") { module.clone() } else { child() };
                    let text = fs::read_to_string(&path).expect("a source file");
                    tested.extend(modules_of_tests(&text).map(|name| [module.clone(), vec![name]].concat()));
                    let shown = path.strip_prefix(src).expect("below src").to_owned();
                    files.insert(module, File::read(shown, &text));
                }
            }
        }
        files.retain(|module: &Names, _| !tested.iter().any(|tests| module.starts_with(tests)));
        Self(files)
    }

    /// The first circle, file by file.
    fn circle(&self) -> Option<Vec<String>> {
        let edges: BTreeMap<&Names, BTreeSet<&Names>> =
            self.0.keys().map(|module| (module, self.edges(module))).collect();
        let mut done = BTreeSet::new();
        for start in edges.keys() {
            let mut path: Vec<(&Names, Vec<&Names>)> = vec![(start, edges[start].iter().copied().collect())];
            while let Some((_, left)) = path.last_mut() {
                let Some(next) = left.pop() else {
                    done.insert(path.pop().expect("the last").0);
                    continue;
                };
                if let Some(at) = path.iter().position(|(module, _)| *module == next) {
                    let circle = path[at..].iter().map(|(module, _)| *module).chain([next]);
                    return Some(circle.map(|module| self.0[module].path.display().to_string()).collect());
                }
                if !done.contains(next) {
                    path.push((next, edges[next].iter().copied().collect()));
                }
            }
        }
        None
    }

    fn edges(&self, module: &Names) -> BTreeSet<&Names> {
        let named = self.0[module].named.iter();
        named
            .filter_map(|names| self.define(&self.absolute(module, names)?, 0))
            .filter(|other| !module.starts_with(other))
            .collect()
    }

    /// The path from the crate's root; nothing for what is another crate's.
    fn absolute(&self, module: &Names, names: &Names) -> Option<Names> {
        let mut at = module.clone();
        let mut rest = names.as_slice();
        match rest.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while let Some(("super", after)) = rest.split_first().map(|(first, after)| (&**first, after))
                {
                    at.pop()?;
                    rest = after;
                }
            }
            child => {
                let below: Names = at.iter().cloned().chain([child.to_owned()]).collect();
                self.0.get(&below)?;
            }
        }
        at.extend(rest.iter().cloned());
        Some(at)
    }

    /// The module whose file defines what has this path.
    fn define(&self, names: &Names, depth: usize) -> Option<&Names> {
        let known = (0..=names.len()).rev().find_map(|length| self.0.get_key_value(&names[..length]));
        let (module, file) = known?;
        let Some(item) = names.get(module.len()).filter(|_| depth < 8) else { return Some(module) };
        let shown = file.shown.iter().find(|(name, _)| name == item);
        if let Some(from) = shown.and_then(|(_, from)| self.absolute(module, from)) {
            return self.define(&from, depth + 1);
        }
        Some(module)
    }
}

impl File {
    fn read(path: PathBuf, text: &str) -> Self {
        let text = without_tests(&without_comments(text));
        let mut file = Self { path, named: Vec::new(), shown: Vec::new() };
        let mut rest = text.as_str();
        // Imports, which may branch.
        let mut others = String::new();
        while let Some(at) = rest.find("use ") {
            let starts_word = rest[..at].chars().next_back().is_none_or(|before| before.is_whitespace());
            let (before, import) = rest.split_at(at);
            others.push_str(before);
            let end = import.find(';').unwrap_or(import.len());
            let line = before.rsplit('\n').next().unwrap_or_default().trim();
            if !starts_word || !(line.is_empty() || line.starts_with("pub")) {
                others.push_str("use ");
                rest = &import["use ".len()..];
                continue;
            }
            for (name, names) in branches(&import["use ".len()..end]) {
                if line.starts_with("pub") && name != "*" {
                    file.shown.push((name, names));
                } else {
                    file.named.push(names);
                }
            }
            rest = &import[end..];
        }
        others.push_str(rest);
        file.named.extend(inline(&others));
        file
    }
}

/// The paths that an import names, each with the name that it gives it.
fn branches(tree: &str) -> Vec<(String, Names)> {
    let tree = tree.trim();
    let Some((stem, inner)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let names: Names = path.split("::").map(|name| name.trim().to_owned()).collect();
        let last = names.last().cloned().unwrap_or_default();
        return vec![(if alias.is_empty() { last } else { alias.trim().to_owned() }, names)];
    };
    let stem: Names =
        stem.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in inner.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    let mut all = Vec::new();
    for part in parts.iter().filter(|part| !part.trim().is_empty()) {
        for (name, names) in branches(part) {
            let names = names.into_iter().filter(|name| name != "self");
            all.push((name, stem.iter().cloned().chain(names).collect()));
        }
    }
    all
}

/// Paths in the midst of code.
fn inline(text: &str) -> Vec<Names> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let is_whole =
                text[..at].chars().next_back().is_none_or(|before| !is_of_a_name(before) && before != ':');
            if is_whole {
                let path: String =
                    text[at..].chars().take_while(|it| is_of_a_name(*it) || *it == ':').collect();
                found.push(path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect());
            }
        }
    }
    found
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.find("//").map_or(line, |at| &line[..at]));
    lines.collect::<Vec<_>>().join("\n")
}

/// The files that are compiled for tests alone.
fn modules_of_tests(text: &str) -> impl Iterator<Item = String> {
    text.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let line = after.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
        line.strip_suffix(';')?.split_once("mod ").map(|(_, name)| name.to_owned())
    })
}

/// Cuts what is compiled for tests alone: a module in braces, which stands last, and single statements.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let tested = &rest[at..];
        let end = tested.find([';', '{']).unwrap_or(tested.len() - 1);
        let is_import = tested[.."#[cfg(test)]".len().max(end)].contains("use ");
        let stop = if tested[end..].starts_with('{') && !is_import {
            closing(tested, end)
        } else {
            tested.find(';').unwrap_or(tested.len() - 1)
        };
        rest = &tested[stop + 1..];
    }
    kept.push_str(rest);
    kept
}

/// The brace that closes the one at this place.
fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, letter) in text.char_indices().skip_while(|(at, _)| *at < open) {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if depth == 0 {
            return at;
        }
    }
    text.len() - 1
}
