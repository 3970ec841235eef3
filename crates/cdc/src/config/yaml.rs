//! YAML into a [`Node`] tree.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::problem::Problem;
use super::tree::{Content, Entry, Node, Origin};

/// The largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The most values in a file, aliases spelled out. Aliases of aliases grow exponentially.
const MAX_NODES: usize = 20_000;

/// How deep sections may nest.
const MAX_DEPTH: usize = 32;

/// Reads one file. An empty file is an empty section.
pub(super) fn read_file(path: &Path) -> Result<Node, Problem> {
    let unreadable = |what: String| Problem::file(path, what);
    let size = std::fs::metadata(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(format!(
            "is {size} bytes long; a configuration has at most {MAX_FILE_BYTES}"
        )));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    parse(path, &text)
}

/// Parses a file's text.
pub(super) fn parse(path: &Path, text: &str) -> Result<Node, Problem> {
    let mut reader =
        Reader { path: path.into(), events: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let root = reader.document()?;
    match root.content {
        Content::Map(_) => Ok(root),
        Content::Null => Ok(Node::section(root.origin)),
        Content::Scalar(_) | Content::List(_) => {
            Err(Problem::at(&root.origin, "the file must hold keys with values, such as `kafka:`"))
        }
    }
}

struct Reader<'t> {
    path: Arc<Path>,
    events: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::StreamEnd) {
                break;
            }
            // Starts and ends of the stream and of documents.
            if !event.is_node() {
                continue;
            }
            if root.is_some() {
                return Err(Problem::at(&self.origin(span), "a second document begins; a file holds one"));
            }
            root = Some(self.node(event, span, 0)?);
        }
        let start = Origin::File { path: Arc::clone(&self.path), line: 1, column: 1 };
        Ok(root.unwrap_or_else(|| Node::section(start)))
    }

    /// The next event that carries content.
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        loop {
            match self.events.next_event() {
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => return Err(self.scan_error(&error)),
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Problem> {
        let origin = self.origin(span);
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(Problem::at(
                &origin,
                format!("too deep or too long: at most {MAX_DEPTH} levels and {MAX_NODES} values"),
            ));
        }
        if event.tag().is_some_and(|tag| !tag.is_yaml_core_schema()) {
            let tag = span.tag_start().map_or(span, Span::empty);
            let text = "YAML tags of one's own mean nothing here; write the value itself";
            return Err(Problem::at(&self.origin(tag), text));
        }
        let (content, anchor) = if let Event::Alias(id) = event {
            return self.alias(id, origin);
        } else if let Event::Scalar(text, style, anchor, _) = event {
            (scalar(&text, style), anchor)
        } else if let Event::SequenceStart(_, anchor, _) = event {
            (Content::List(self.items(depth)?), anchor)
        } else if let Event::MappingStart(_, anchor, _) = event {
            (Content::Map(self.entries(depth)?), anchor)
        } else {
            return Err(Problem::at(&origin, "a value is expected here"));
        };
        let node = Node { origin, content };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, origin) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(key, ..), span) => (key.into_owned(), self.origin(span)),
                (_, span) => return Err(Problem::at(&self.origin(span), "a key must be a plain word")),
            };
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let first = &first.origin;
                return Err(Problem::at(&origin, format!("key {key} stands here twice; first at {first}")));
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, origin, node });
        }
    }

    fn alias(&mut self, id: usize, origin: Origin) -> Result<Node, Problem> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(Problem::at(&origin, "the alias stands inside the value that it names"));
        };
        self.nodes += count(&node);
        Ok(node)
    }

    fn origin(&self, span: Span) -> Origin {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        Origin::File { path: Arc::clone(&self.path), line, column }
    }

    fn scan_error(&self, error: &ScanError) -> Problem {
        let (line, column) = (error.marker().line(), error.marker().col() + 1);
        let origin = Origin::File { path: Arc::clone(&self.path), line, column };
        Problem::at(&origin, format!("not valid YAML: {}", error.info()))
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" if style == ScalarStyle::Plain => Content::Null,
        _ => Content::Scalar(text.to_owned()),
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.content {
        Content::Null | Content::Scalar(_) => 0,
        Content::List(items) => items.iter().map(count).sum(),
        Content::Map(entries) => entries.iter().map(|entry| count(&entry.node)).sum(),
    }
}
