//! Positions out of resume tokens: order, high-water marks, and what is refused.

use crate::common::raw;
use bson::{RawDocumentBuf, doc};
use bytes::Bytes;
use cdc_event::{Position, ResumeToken, TokenError, token_cluster_time, token_position};
use proptest::prelude::*;

/// What follows the flag in tokens of events: collection, document key. It differs from event to event.
const TAIL: &str = "5A1004B7A61B0EF2B94D6CA0F6A1B2C3D4E5F646645F69640064507F1F77BCF86CD7994390110004";

fn position(data: &str) -> Position {
    token_position(raw(&doc! { "_data": data }).as_bytes(), 7).unwrap()
}

/// Tokens in the order in which a stream gives them, the forms as MongoDB 6.0.5 was seen to write them:
/// a high-water mark, an event outside a transaction, the 2nd, 31st and 301st of one (ordinals from zero),
/// the next cluster time, an invalidate.
#[test]
fn order_is_the_streams() {
    let data = [
        "826B045F8E000000082B0229296E04".to_owned(),
        format!("826B045F8E000000082B022C0100296E{TAIL}"),
        format!("826B045F8E000000082B022C01002B026E{TAIL}"),
        format!("826B045F8E000000082B022C01002B1E6E{TAIL}"),
        format!("826B045F8E000000082B022C01002B1E6F{TAIL}"),
        format!("826B045F8E000000082B022C01002C02586E{TAIL}"),
        "826B045F8E000000092B0229296E04".to_owned(),
        format!("826B045F8F000000012B022C0100296E{TAIL}"),
    ];
    let positions: Vec<_> = data.iter().map(|data| position(data)).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    assert!(data.is_sorted(), "the tokens themselves compare alike");
    assert_eq!(positions[0].to_string(), "000000076b045f8e0000000829296e");
    assert_eq!(positions[5].to_string(), "000000076b045f8e000000082c01002c02586e");
}

#[test]
fn the_tokens_version_and_tail_do_not_count() {
    let one = position(&format!("826B045F8E000000082B022C0100296E{TAIL}"));
    assert_eq!(one, position("826B045F8E000000082B042C0100296E04"));
    assert_eq!(one, position("826b045f8e000000082b022c0100296e04"));
}

#[test]
fn a_higher_lineage_is_later_whatever_the_time() {
    let early = raw(&crate::common::token(1, 1));
    let late = raw(&crate::common::token(u32::MAX, 1));
    assert!(token_position(early.as_bytes(), 2).unwrap() > token_position(late.as_bytes(), 1).unwrap());
}

#[test]
fn cluster_time_is_read_from_the_token() {
    let time = token_cluster_time(raw(&crate::common::token(0x6B04_5F8E, 8)).as_bytes()).unwrap();
    assert_eq!((time.t, time.i), (0x6B04_5F8E, 8));
}

#[test]
fn a_token_keeps_its_bytes() {
    let bytes = Bytes::from(raw(&crate::common::token(3, 4)).into_bytes());
    let token = ResumeToken::from_bson(bytes.clone(), 9).unwrap();
    assert_eq!(token.bson, bytes);
    assert_eq!(token.position, token_position(&bytes, 9).unwrap());
}

#[test]
fn what_is_no_token_is_refused() {
    let of = |document| token_position(raw(&document).as_bytes(), 1).unwrap_err();
    assert_eq!(of(doc! {}), TokenError::NoData);
    assert_eq!(of(doc! { "_data": 1 }), TokenError::NoData);
    assert_eq!(of(doc! { "_data": "826B045F8E00000008292C0100296E" }), TokenError::Version);
    assert_eq!(of(doc! { "_data": "826B045F8E000000082B062C0100296E" }), TokenError::Version);
    for data in [
        "",
        "8",
        "82",
        "826B045F8E0000000",
        "836B045F8E000000082B0229296E",
        "zz6B045F8E000000082B0229296E",
        "826B045F8E000000082B0227FE296E",
        "826B045F8E000000082B022929",
        "826B045F8E000000082B02292900",
        "826B045F8E000000082B0229é",
    ] {
        assert!(matches!(of(doc! { "_data": data }), TokenError::NotKeyString(_)), "{data}");
    }
    assert!(matches!(token_position(b"\x05\0\0", 1), Err(TokenError::Malformed(_))));
}

/// KeyString's integer: type byte by length, value shifted by the fraction bit.
fn key_string_integer(value: u64) -> String {
    let shifted = (u128::from(value) << 1).to_be_bytes();
    let digits = &shifted[shifted.iter().position(|byte| *byte != 0).unwrap_or(16)..];
    match digits.len() {
        0 => "29".to_owned(),
        length => {
            format!("{:02X}{}", 0x2A + length, digits.iter().map(|b| format!("{b:02X}")).collect::<String>())
        }
    }
}

proptest! {
    #[test]
    fn positions_compare_as_their_parts(
        a in (any::<u32>(), any::<u32>(), any::<u32>(), 0_u64..1 << 62),
        b in (any::<u32>(), any::<u32>(), any::<u32>(), 0_u64..1 << 62),
        near: bool,
    ) {
        let b = if near { (a.0, a.1, a.2, b.3 >> 40) } else { b };
        let of = |(lineage, t, i, ordinal): (u32, u32, u32, u64)| {
            let data = format!("82{t:08X}{i:08X}2B022C0100{}6E{TAIL}", key_string_integer(ordinal));
            token_position(raw(&doc! { "_data": data }).as_bytes(), lineage).unwrap()
        };
        prop_assert_eq!(of(a).cmp(&of(b)), a.cmp(&b));
        prop_assert_eq!(of(a).to_string().cmp(&of(b).to_string()), a.cmp(&b), "as text too");
        prop_assert_eq!(Position::from_hex(&of(a).to_string()), Some(of(a)));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), data in ".{0,64}") {
        _ = token_position(&bytes, 1);
        _ = token_cluster_time(&bytes);
        _ = token_position(RawDocumentBuf::try_from(&doc! { "_data": data.clone() }).unwrap().as_bytes(), 1);
        _ = Position::from_hex(&data);
    }
}
