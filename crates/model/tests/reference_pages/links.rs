//! Every relative link of the Markdown pages leads to a file, and every anchor to a heading.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// Folders with pages, besides the root.
const FOLDERS: [&str; 3] = ["docs", "docs/adr", "specs"];

fn pages() -> Vec<PathBuf> {
    let folders = FOLDERS.iter().map(|folder| root().join(folder)).chain([root()]);
    let files = folders.flat_map(|folder| fs::read_dir(&folder).into_iter().flatten());
    let paths = files.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The text outside fenced code and code spans.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            kept.extend(line.split('`').step_by(2));
            kept.push('\n');
        }
    }
    kept
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
        .map(|it| if it == ' ' { '-' } else { it })
        .collect()
}

fn follow(page: &Path, link: &str) -> Result<(), String> {
    let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
    let path = if file.is_empty() {
        page.to_path_buf()
    } else {
        page.parent().unwrap_or_else(|| Path::new("")).join(file)
    };
    if !path.exists() {
        return Err(format!("{}: {link} leads nowhere", page.display()));
    }
    if fragment.is_empty() || path.extension().is_none_or(|extension| extension != "md") {
        return Ok(());
    }
    let target = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if anchors(&target).contains(fragment) {
        return Ok(());
    }
    Err(format!("{}: {link}: no such heading", page.display()))
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut links = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for rest in prose(&text).split("](").skip(1) {
            let Some((link, _)) = rest.split_once(')') else { continue };
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            broken.extend(follow(&page, link).err());
        }
    }
    assert!(links > 100, "{links} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
