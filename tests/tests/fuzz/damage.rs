//! The ways in which a seed is damaged.

use proptest::prelude::*;
use proptest::sample::Index;

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Edit {
    /// One byte becomes another.
    Byte(Index, u8),
    /// Bytes are removed.
    Remove(Index, usize),
    /// A run of bytes is written once more, elsewhere.
    Copy(Index, Index, usize),
    /// Bytes of another seed are put in.
    Splice(Index, Index, Index, usize),
    /// A token is put in.
    Insert(Index, &'static str),
    /// A number becomes another one.
    Number(Index, &'static str),
    /// The rest is cut off.
    Cut(Index),
}

/// Texts that mean something in one of the formats.
const TOKENS: [&str; 28] = [
    "\n",
    "\r\n",
    "\t",
    " ",
    ",",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "\\u0000",
    "\0",
    "\u{feff}",
    "\u{e9}",
    "\u{1f600}",
    "B-",
    "I-x",
    "O",
    "null",
    "true",
    "[[[[[[[[",
    "{\"a\":",
    "<extra_id_0>",
    "</s>",
    "-DOCSTART-",
    "# ",
    "\u{200b}",
    "\u{85}",
];
/// Numbers at the edges of their types.
const NUMBERS: [&str; 12] = [
    "-1",
    "0",
    "1e309",
    "-0.0",
    "NaN",
    "255",
    "65536",
    "2147483648",
    "9223372036854775807",
    "18446744073709551616",
    "1000000000",
    "0.1",
];

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        (at(), 1..40usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (at(), at(), 1..200usize).prop_map(|(from, to, length)| Edit::Copy(from, to, length)),
        (at(), at(), at(), 1..200usize)
            .prop_map(|(seed, from, to, length)| Edit::Splice(seed, from, to, length)),
        (at(), prop::sample::select(&TOKENS[..])).prop_map(|(at, token)| Edit::Insert(at, token)),
        (at(), prop::sample::select(&NUMBERS[..])).prop_map(|(at, number)| Edit::Number(at, number)),
        at().prop_map(Edit::Cut),
    ]
}

/// One of `seeds` after some edits.
pub(crate) fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (any::<Index>(), prop::collection::vec(edit(), 1..6)).prop_map(move |(seed, edits)| {
        let mut bytes = seed.get(&seeds).clone();
        edits.iter().for_each(|edit| apply(edit, &mut bytes, &seeds));
        bytes
    })
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
    let insert = |bytes: &mut Vec<u8>, at: usize, new: &[u8]| drop(bytes.splice(at..at, new.iter().copied()));
    match edit {
        Edit::Byte(at, byte) => {
            let at = place(at, bytes);
            bytes.get_mut(at).into_iter().for_each(|old| *old = *byte);
        }
        Edit::Remove(at, length) => {
            let at = place(at, bytes);
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        Edit::Copy(from, to, length) => {
            let (from, to) = (place(from, bytes), place(to, bytes));
            let run = bytes[from..(from + length).min(bytes.len())].to_vec();
            insert(bytes, to, &run);
        }
        Edit::Splice(seed, from, to, length) => {
            let other = seed.get(seeds);
            let (from, to) = (place(from, other), place(to, bytes));
            insert(bytes, to, &other[from..(from + length).min(other.len())]);
        }
        Edit::Insert(at, token) => {
            let at = place(at, bytes);
            insert(bytes, at, token.as_bytes());
        }
        Edit::Number(at, number) => {
            let digits = |byte: &u8| byte.is_ascii_digit();
            let from = place(at, bytes);
            let Some(first) = bytes[from..].iter().position(digits).map(|at| from + at) else { return };
            let last =
                bytes[first..].iter().position(|byte| !digits(byte)).map_or(bytes.len(), |n| first + n);
            bytes.splice(first..last, number.bytes());
        }
        Edit::Cut(at) => bytes.truncate(place(at, bytes)),
    }
}
