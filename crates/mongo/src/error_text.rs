//! A driver's error in words for people. The driver's own text has the server's reply in it, byte by byte: kilobytes of
//! hex, and what a reply holds.

use std::fmt;

use mongodb::error::{Error, ErrorKind};

/// The longest text that is passed on, in bytes.
const BYTES_MAX: usize = 1024;

/// What the driver's text puts between its words and the reply.
const LABELS: &str = ", labels: ";
/// What the driver's text puts in front of the reply.
const REPLY: &str = "server response: ";
/// What every error of the driver's begins with.
const KIND: &str = "Kind: ";

/// A driver's error as the cause of a failure: what it says, and nothing of a reply.
#[derive(Debug)]
pub(crate) struct ErrorText(String);

impl ErrorText {
    pub(crate) fn new(error: &Error) -> Self {
        let text = match error.kind.as_ref() {
            ErrorKind::Command(command) => {
                format!("{} ({}): {}", command.code_name, command.code, without_replies(&command.message))
            }
            ErrorKind::ServerSelection { message, .. } => servers(&without_replies(message)),
            kind => without_replies(&kind.to_string()),
        };
        Self(bounded(text))
    }

    /// The same for `/health`, where it says which server did what.
    pub(crate) fn in_brief(&self, error: &Error) -> Option<String> {
        matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. }).then(|| self.0.clone())
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ErrorText {}

/// Errors inside of errors bring their replies along: each is cut from its labels to the end of its reply.
fn without_replies(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(labels) = rest.find(LABELS) {
        kept.push_str(&rest[..labels]);
        let Some(reply) = rest[labels..].find(REPLY).map(|at| labels + at + REPLY.len()) else {
            return kept;
        };
        let after = &rest[reply..];
        rest = if let Some(after) = after.strip_prefix("None") {
            after
        } else if let Some(end) = after.find(')') {
            &after[end + 1..]
        } else {
            return kept;
        };
    }
    kept.push_str(rest);
    kept.replace(KIND, "")
}

/// What each server that was asked has answered: `127.0.0.1:1: connection refused`. The text itself where it has another
/// form.
fn servers(text: &str) -> String {
    const ADDRESS: &str = "Address: ";
    let mut found = Vec::new();
    for server in text.split(ADDRESS).skip(1) {
        let address = server.split(',').next().unwrap_or_default();
        let error = server.split_once("Error: ").map(|(_, error)| {
            let error = error.split(" }").next().unwrap_or_default();
            let error = error.strip_prefix("I/O error: ").unwrap_or(error);
            error.split(" (os error").next().unwrap_or_default().trim_end_matches([',', ' '])
        });
        if let Some(error) = error {
            found.push(format!("{address}: {}", in_lower_case(error)));
        }
    }
    if found.is_empty() { text.to_owned() } else { found.join("; ") }
}

/// The operating system begins its words with a capital.
fn in_lower_case(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > BYTES_MAX {
        text.truncate(text.floor_char_boundary(BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_servers_that_do_not_answer_each_has_its_words() {
        let text = "Server selection timeout: No available servers. Topology: { Type: Unknown, Servers: [ { \
                    Address: 127.0.0.1:1, Type: Unknown, Error: Kind: I/O error: Connection refused (os error \
                    111), labels: {\"RetryableWriteError\"}, source: None, server response: None }, { Address: \
                    db:2, Type: Unknown, Error: Kind: An error occurred during DNS resolution: failed to lookup \
                    address information: Name or service not known, labels: {}, source: None, server response: \
                    None } ] }";
        let expected = "127.0.0.1:1: connection refused; db:2: an error occurred during DNS resolution: failed to \
                        lookup address information: Name or service not known";
        assert_eq!(servers(&without_replies(text)), expected);
        let other = "Server selection timeout: no servers. Topology: { Type: ReplicaSetNoPrimary }";
        assert_eq!(servers(&without_replies(other)), other);
    }

    #[test]
    fn nothing_is_left_of_a_reply() {
        let reply = "Kind: Command failed: Error code 13 (Unauthorized): not authorized on shop, labels: {}, source: \
                     None, server response: Some(RawDocumentBuf { data: \"70010000016f6b\" }), and on";
        let text = without_replies(&format!("cleared because another operation failed with: {reply}"));
        let expected = "cleared because another operation failed with: Command failed: Error code 13 \
                        (Unauthorized): not authorized on shop, and on";
        assert_eq!(text, expected);
        assert_eq!(without_replies("a, labels: {}, cut off"), "a");
        assert!(bounded("é".repeat(BYTES_MAX)).len() <= BYTES_MAX + '…'.len_utf8());
    }
}
