//! Where the token record is kept where no key says so: under a name after what is watched, so that two pipelines do
//! not meet by accident.
//!
//! A list of collections can change, and the position must not be lost with that: a list has the database's name. What
//! one collection had under its own name, and what every pipeline of an earlier release had under one and the same, is
//! looked for where nothing stands under the new name yet.

use std::fmt::Write as _;
use std::path::PathBuf;

use xxhash_rust::xxh3::xxh3_64;

/// The default key of earlier releases.
const EARLIER_KEY: &str = "cdc:watcher:resume_token";
/// The default path of earlier releases.
const EARLIER_PATH: &str = "/var/lib/watcher/resume_token.dat";
/// The folder of the default path.
const FOLDER: &str = "/var/lib/watcher";
/// The longest name in a file's name, in bytes: with what stands beside the file it stays below the 255 of most file
/// systems.
const FILE_NAME_MAX: usize = 180;

/// A place, and those where the record may be instead as long as nothing stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places<T> {
    /// The place.
    pub(super) place: T,
    /// The others; the earliest release's last.
    pub(super) earlier: Vec<T>,
}

/// The key in Redis.
pub(super) fn key(database: &str, collections: &[String]) -> Places<String> {
    let (name, others) = names(database, collections);
    let key = |name: String| format!("cdc:watcher:{name}:resume_token");
    let earlier = others.into_iter().map(key).chain([EARLIER_KEY.to_owned()]).collect();
    Places { place: key(name), earlier }
}

/// The path of the file.
pub(super) fn path(database: &str, collections: &[String]) -> Places<PathBuf> {
    let (name, others) = names(database, collections);
    let path = |name: String| PathBuf::from(format!("{FOLDER}/{}.resume_token.dat", file_name(&name)));
    let earlier = others.into_iter().map(path).chain([EARLIER_PATH.into()]).collect();
    Places { place: path(name), earlier }
}

/// What is watched, and what the record may have been named after before. A database's name has no dot.
fn names(database: &str, collections: &[String]) -> (String, Vec<String>) {
    let of_one = |collection: &String| format!("{database}.{collection}");
    match collections {
        [collection] => (of_one(collection), vec![database.to_owned()]),
        list => (database.to_owned(), list.iter().map(of_one).collect()),
    }
}

/// A name that any file system takes, and no two names share.
fn file_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            safe.push(char::from(byte));
        } else {
            let _infallible = write!(safe, "%{byte:02X}");
        }
    }
    if safe.len() > FILE_NAME_MAX {
        // Cut names could be equal; their sums are not. XXH3 gives the same one in every release.
        safe.truncate(FILE_NAME_MAX);
        let _infallible = write!(safe, "~{:016x}", xxh3_64(name.as_bytes()));
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(collections: &[&str]) -> Vec<String> {
        collections.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn one_collection_has_its_own_name_and_a_list_the_database_s() {
        let one = key("shop", &names_of(&["orders"]));
        assert_eq!(one.place, "cdc:watcher:shop.orders:resume_token");
        assert_eq!(one.earlier, ["cdc:watcher:shop:resume_token", "cdc:watcher:resume_token"]);
        let list = key("shop", &names_of(&["items", "orders"]));
        assert_eq!(list.place, "cdc:watcher:shop:resume_token");
        assert_eq!(
            list.earlier,
            [
                "cdc:watcher:shop.items:resume_token",
                "cdc:watcher:shop.orders:resume_token",
                "cdc:watcher:resume_token"
            ]
        );
        let longer = key("shop", &names_of(&["items", "orders", "zones"]));
        assert_eq!(longer.place, list.place, "a list that grows keeps its place");
        let file = path("shop", &names_of(&["orders"]));
        assert_eq!(file.place, PathBuf::from("/var/lib/watcher/shop.orders.resume_token.dat"));
        assert_eq!(file.earlier[0], PathBuf::from("/var/lib/watcher/shop.resume_token.dat"));
        assert_eq!(file.earlier[1], PathBuf::from("/var/lib/watcher/resume_token.dat"));
    }

    #[test]
    fn any_name_makes_a_file_s_name_and_no_two_the_same() {
        assert_eq!(file_name("shop.a/b %"), "shop.a%2Fb%20%25");
        let (long, other) = ("é".repeat(100), format!("{}x", "é".repeat(100)));
        assert_ne!(file_name(&long), file_name(&other));
        let sum = "~13a996976444261f";
        assert!(file_name(&long).ends_with(sum), "another sum would lose the place of an earlier release");
        assert!(file_name(&long).len() < 255 - ".resume_token.dat.previous".len(), "{}", file_name(&long));
    }
}
