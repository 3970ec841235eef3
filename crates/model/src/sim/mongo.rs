//! MongoDB: an oplog of which a majority has a prefix. What no majority has, an election takes back. Streams read the
//! majority's prefix, from a node that may lag behind it, as long as the oplog still holds their token.

use super::message::{KEYS, Kind, Message, TABLES, Token, token, version};
use cdc_machine::Lineage;

/// One entry of the oplog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Where it stands.
    pub token: Token,
    /// The collection.
    pub table: u8,
    /// The document.
    pub key: u8,
    /// What happened to it.
    pub what: What,
}

/// What happened to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// It was made.
    Insert(u16),
    /// It was changed.
    Update(u16),
    /// It was deleted.
    Delete,
    /// Something that no stream tells of.
    Noise,
}

impl Change {
    /// True where somebody has to hear of it.
    #[must_use]
    pub const fn is_told(&self) -> bool {
        !matches!(self.what, What::Noise)
    }

    /// The document's name after it.
    #[must_use]
    pub const fn name(&self) -> Option<u16> {
        match self.what {
            What::Insert(name) | What::Update(name) => Some(name),
            What::Delete | What::Noise => None,
        }
    }
}

/// The documents' names.
type Documents = [[Option<u16>; KEYS]; TABLES];

/// The replica set.
#[derive(Clone, Debug, Hash)]
pub struct Mongo {
    log: Vec<Change>,
    /// So many entries a majority has.
    majority: usize,
    /// The first entry that the oplog still holds.
    first: usize,
    /// So many of the majority's entries the node lacks that streams read from.
    pub lag: usize,
    /// True where an update comes with the document as it is when it is read.
    pub looks_up: bool,
    time: u32,
    names: u16,
    newest: Documents,
    committed: Documents,
}

impl Mongo {
    /// Without a document.
    #[must_use]
    pub fn new(looks_up: bool) -> Self {
        Self {
            log: vec![Change { token: token(1, 0), table: 0, key: 0, what: What::Noise }],
            majority: 1,
            first: 0,
            lag: 0,
            looks_up,
            time: 1,
            names: 0,
            newest: Documents::default(),
            committed: Documents::default(),
        }
    }

    /// A write of a client, of one of several shapes.
    pub fn write(&mut self, shape: u8, table: u8, key: u8, other: u8) {
        let table = table % u8::try_from(TABLES).unwrap_or(1);
        let (a, b) = (key % u8::try_from(KEYS).unwrap_or(1), other % u8::try_from(KEYS).unwrap_or(1));
        self.time += 1;
        match shape {
            // A transaction that changes one document twice.
            0 => {
                self.put(table, a, 0);
                self.put(table, a, 1);
            }
            // Two documents swap their names, in one transaction or one after the other.
            1 | 2 => self.swap(table, a, b, shape == 1),
            // One is deleted, another one takes its name.
            3 => self.hand_over(table, a, b),
            4 | 5 => self.delete(table, a),
            6 => self.append(Change { token: token(self.time, 0), table, key: a, what: What::Noise }),
            // A document is replaced: two changes in one transaction, the first of which deletes it.
            7 => {
                if self.name(table, a).is_some() {
                    self.append(Change { token: token(self.time, 0), table, key: a, what: What::Delete });
                }
                self.put(table, a, 1);
            }
            _ => self.put(table, a, 0),
        }
    }

    fn put(&mut self, table: u8, key: u8, ordinal: u8) {
        self.names += 1;
        self.set(table, key, self.names, token(self.time, ordinal));
    }

    fn set(&mut self, table: u8, key: u8, name: u16, token: Token) {
        let what = if self.name(table, key).is_some() { What::Update(name) } else { What::Insert(name) };
        self.append(Change { token, table, key, what });
    }

    fn delete(&mut self, table: u8, key: u8) {
        if self.name(table, key).is_some() {
            self.append(Change { token: token(self.time, 0), table, key, what: What::Delete });
        } else {
            self.put(table, key, 0);
        }
    }

    fn swap(&mut self, table: u8, a: u8, b: u8, is_one: bool) {
        let (Some(first), Some(second)) = (self.name(table, a), self.name(table, b)) else {
            return self.put(table, a, 0);
        };
        if a == b {
            return self.put(table, a, 0);
        }
        self.names += 1;
        for (ordinal, (key, name)) in (0..).zip([(a, self.names), (b, first), (a, second)]) {
            let at = token(self.time, if is_one { ordinal } else { 0 });
            self.set(table, key, name, at);
            self.time += u32::from(!is_one);
        }
    }

    fn hand_over(&mut self, table: u8, a: u8, b: u8) {
        let Some(name) = self.name(table, a).filter(|_| a != b) else { return self.put(table, a, 0) };
        self.append(Change { token: token(self.time, 0), table, key: a, what: What::Delete });
        self.time += 1;
        self.set(table, b, name, token(self.time, 0));
    }

    fn name(&self, table: u8, key: u8) -> Option<u16> {
        self.newest[usize::from(table)][usize::from(key)]
    }

    fn append(&mut self, change: Change) {
        if change.is_told() {
            self.newest[usize::from(change.table)][usize::from(change.key)] = change.name();
        }
        self.log.push(change);
    }

    /// The majority gets so many entries more, whole transactions only.
    pub fn replicate(&mut self, entries: usize) -> &[Change] {
        let before = self.majority;
        let mut majority = (before + entries).min(self.log.len());
        let time = |change: &Change| change.token >> 8;
        while majority < self.log.len() && time(&self.log[majority]) == time(&self.log[majority - 1]) {
            majority += 1;
        }
        for change in self.log[before..majority].iter().filter(|change| change.is_told()) {
            self.committed[usize::from(change.table)][usize::from(change.key)] = change.name();
        }
        self.majority = majority;
        &self.log[before..majority]
    }

    /// Another primary: what no majority has is gone. Its clock goes on above all that there was.
    pub fn elect(&mut self) {
        self.log.truncate(self.majority);
        self.newest = self.committed;
        self.time += 8;
    }

    /// The oplog forgets all that streams of this node have been able to read, but for so many entries.
    pub fn forget(&mut self, kept: usize) {
        self.first = self.first.max(self.majority.saturating_sub(kept + 1));
    }

    /// True while a majority lacks something.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.majority < self.log.len()
    }

    const fn seen(&self) -> usize {
        let seen = self.majority.saturating_sub(self.lag);
        if seen < self.first + 1 { self.first + 1 } else { seen }
    }

    /// The present, as a stream that begins now sees it.
    #[must_use]
    pub fn now(&self) -> Token {
        self.log[self.majority - 1].token
    }

    /// The node's newest entry.
    #[must_use]
    pub fn end_seen(&self) -> Token {
        self.log[self.seen() - 1].token
    }

    /// True where a stream can go on after this token.
    #[must_use]
    pub fn holds(&self, after: Token) -> bool {
        self.first == 0 || after >= self.log[self.first].token
    }

    /// What a stream brings after a token: changes that are told of, and how far it came.
    pub fn read(&self, after: Token, at_most: usize, found: &mut Vec<Change>) {
        let begin = self.log.partition_point(|change| change.token <= after);
        let told = self.log[begin..self.seen().max(begin)].iter().filter(|change| change.is_told());
        found.extend(told.take(at_most));
    }

    /// The message of a change.
    #[must_use]
    pub fn message(&self, change: &Change, lineage: Lineage, poisons: bool) -> Message {
        let Change { token, table, key, what } = *change;
        let (kind, name) = match what {
            What::Insert(name) => (Kind::Upsert, name),
            What::Update(name) if !self.looks_up => (Kind::Upsert, name),
            What::Update(_) => {
                let now = self.committed[usize::from(table)][usize::from(key)];
                now.map_or((Kind::Absent, 0), |name| (Kind::Upsert, name))
            }
            What::Delete | What::Noise => (Kind::Delete, 0),
        };
        let is_poison = poisons && kind == Kind::Upsert && is_poison(name);
        Message { kind, table, key, name, is_poison, token, version: version(lineage, token) }
    }

    /// The documents that a majority has.
    #[must_use]
    pub const fn documents(&self) -> &Documents {
        &self.committed
    }
}

/// Where some documents fit no table, one with this name is such.
#[must_use]
pub const fn is_poison(name: u16) -> bool {
    name % 13 == 12
}
