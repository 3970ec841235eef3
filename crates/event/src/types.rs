use std::fmt;

/// The types that `bson_types` names: those that a value's JSON spelling does not imply. Names are
/// MongoDB's `$type` aliases; the order is the one in which a message lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BsonType {
    /// An int64 inside the int32 range.
    Long,
    /// A double that is not a finite number.
    Double,
    /// A decimal128.
    Decimal,
    /// An ObjectId.
    ObjectId,
    /// A date.
    Date,
    /// A timestamp.
    Timestamp,
    /// Binary of this subtype; of subtype 4 a UUID where the text is one.
    Binary(u8),
    /// A regular expression.
    Regex,
    /// JavaScript.
    JavaScript,
    /// A symbol.
    Symbol,
    /// JavaScript with scope.
    JavaScriptWithScope,
    /// A DBPointer.
    DbPointer,
    /// Undefined.
    Undefined,
    /// Below all other values.
    MinKey,
    /// Above all other values.
    MaxKey,
}

impl BsonType {
    /// All but binary, with their names.
    const NAMED: [(Self, &'static str); 14] = [
        (Self::Long, "long"),
        (Self::Double, "double"),
        (Self::Decimal, "decimal"),
        (Self::ObjectId, "objectId"),
        (Self::Date, "date"),
        (Self::Timestamp, "timestamp"),
        (Self::Regex, "regex"),
        (Self::JavaScript, "javascript"),
        (Self::Symbol, "symbol"),
        (Self::JavaScriptWithScope, "javascriptWithScope"),
        (Self::DbPointer, "dbPointer"),
        (Self::Undefined, "undefined"),
        (Self::MinKey, "minKey"),
        (Self::MaxKey, "maxKey"),
    ];

    /// The type of that name; `None` where there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(digits) = name.strip_prefix("binData:") {
            let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            return (digits.len() == 2 && digits.bytes().all(lower))
                .then(|| u8::from_str_radix(digits, 16).ok())?
                .map(Self::Binary);
        }
        Self::NAMED.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// The name without a binary's subtype.
    #[must_use]
    pub fn alias(self) -> &'static str {
        Self::NAMED.iter().find(|(kind, _)| *kind == self).map_or("binData", |(_, name)| name)
    }

    pub(crate) fn write_name(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.alias().as_bytes());
        if let Self::Binary(subtype) = self {
            out.push(b':');
            crate::json::hex(out, &[subtype]);
        }
    }
}

/// The name as it stands in `bson_types`.
impl fmt::Display for BsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.alias())?;
        if let Self::Binary(subtype) = self { write!(f, ":{subtype:02x}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let binaries = (0..=u8::MAX).map(BsonType::Binary);
        for kind in BsonType::NAMED.iter().map(|(kind, _)| *kind).chain(binaries) {
            let mut name = Vec::new();
            kind.write_name(&mut name);
            assert_eq!(name, kind.to_string().as_bytes());
            assert_eq!(BsonType::from_name(&kind.to_string()), Some(kind));
        }
        for wrong in ["", "int", "binData", "binData:", "binData:4", "binData:0G", "binData:0A", "binData:+1"]
        {
            assert_eq!(BsonType::from_name(wrong), None, "{wrong}");
        }
    }
}
