//! Secrets: written where they are used, or in a file of their own. No error repeats one.

use std::fs::File;
use std::io::{self, Read as _};

use cdc_machine::Key;
use secrecy::SecretString;

use super::described::{Preset, Shape};
use super::layers::variable_of;
use super::section::Section;
use super::tree::{Content, Node, Origin};

/// The longest secret in a file, in bytes. A device has no end.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

impl Section<'_> {
    /// A secret that must be given.
    pub(super) fn required_secret(&mut self, key: Key, value: &mut SecretString) {
        self.tell(key.path, key.text, Shape::Secret, Preset::Required, "");
        match self.secret_of(key.path) {
            Some(secret) => *value = secret,
            None => self.require(key.path),
        }
    }

    /// A secret, where there is any.
    pub(super) fn secret(&mut self, key: Key, value: &mut Option<SecretString>) {
        self.tell(key.path, key.text, Shape::Secret, Preset::Nothing, "");
        *value = self.secret_of(key.path);
    }

    /// A secret, written here or in the file that the key with `_file` behind it names; empty counts as absent. Where
    /// both are given, the higher layer holds.
    fn secret_of(&mut self, key: &str) -> Option<SecretString> {
        let file_key = &format!("{key}_file");
        let text = format!("A file that holds `{}`; one of the two.", self.path_of(key));
        self.tell(file_key, &text, Shape::Text(None), Preset::Nothing, "");
        let is_set = |node: &&Node| !matches!(&node.content, Content::Scalar(text) if text.is_empty());
        let (inline, file) = (self.node(key).filter(is_set), self.node(file_key).filter(is_set));
        let node = match (inline, file) {
            (None, None) => return None,
            (Some(inline), Some(file)) if layer(&inline.origin) == layer(&file.origin) => {
                let other = self.path_of(key);
                self.refuse(file_key, file, &format!("{other} is given too; keep one of the two"));
                return None;
            }
            (Some(inline), Some(file)) if layer(&inline.origin) < layer(&file.origin) => {
                return self.secret_file(file_key, file);
            }
            (None, Some(file)) => return self.secret_file(file_key, file),
            (Some(inline), _) => inline,
        };
        if matches!(node.origin, Origin::Flag(_)) {
            let (file, variable) = (self.path_of(file_key), variable_of(&self.path_of(key)));
            self.refuse(key, node, &format!("everybody can read a command line; use {file} or {variable}"));
            return None;
        }
        let Content::Scalar(text) = &node.content else {
            self.refuse(key, node, "a single value is expected");
            return None;
        };
        Some(text.clone().into())
    }

    fn secret_file(&self, key: &str, node: &Node) -> Option<SecretString> {
        let Content::Scalar(path) = &node.content else {
            self.refuse(key, node, "the path of a file is expected");
            return None;
        };
        match read(path) {
            // Editors and `kubectl create secret --from-file` leave a line break at the end.
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned().into()),
            Err(error) => {
                self.refuse(key, node, &format!("{path} cannot be read: {error}"));
                None
            }
        }
    }
}

fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_SECRET_BYTES} bytes")));
    }
    Ok(text)
}

/// Which layer a value comes from; the greater one wins.
fn layer(origin: &Origin) -> u8 {
    match origin {
        Origin::File { .. } => 0,
        Origin::Variable(_) => 1,
        Origin::Flag(_) => 2,
    }
}
