//! The rows of the table.

use std::io::Write;

/// An input, and what comes of it as JSON Lines. What is too long for the tagger may be an error or not: that depends on
/// whether texts are split.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Name of the file; of none, the content goes to stdin.
    pub(crate) file: &'static str,
    pub(crate) content: Vec<u8>,
    pub(crate) args: &'static str,
    pub(crate) records: usize,
    /// Records that are errors, if it is certain.
    pub(crate) errors: Option<usize>,
}

fn row(
    name: &'static str,
    file: &'static str,
    content: impl Into<Vec<u8>>,
    args: &'static str,
    records: usize,
    errors: usize,
) -> Row {
    Row { name, file, content: content.into(), args, records, errors: Some(errors) }
}

pub(crate) fn long(
    name: &'static str,
    file: &'static str,
    content: impl Into<Vec<u8>>,
    records: usize,
) -> Row {
    let content = content.into();
    // Millions of words would be tagged for minutes.
    let args = if content.len() > 1 << 20 { "--no-split" } else { "" };
    Row { name, file, content, args, records, errors: None }
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Lines of text.
pub(crate) fn texts() -> Vec<Row> {
    vec![
        row("nothing", "", "", "", 0, 0),
        row("an empty file", "a.txt", "", "", 0, 0),
        row("one line feed", "", "\n", "", 1, 0),
        row("blank lines", "a.txt", "set\n\n \t \n\nparis\n", "", 5, 0),
        row("no line feed at the end", "", "set\nparis", "", 2, 0),
        row("CRLF", "a.txt", "set\r\n\r\nparis\r\n", "", 3, 0),
        row("carriage returns alone are white space", "", "set\rparis\n", "", 1, 0),
        row("a byte order mark", "", "\u{feff}paris\nset\n", "", 2, 0),
        row("a byte order mark alone", "a.txt", "\u{feff}", "", 0, 0),
        row("UTF-16 with a mark", "a.txt", b"\xff\xfes\0e\0t\0\n\0".as_slice(), "", 1, 1),
        row("UTF-16 without a mark", "", b"s\0e\0t\0\n\0".as_slice(), "", 2, 0),
        row("Latin-1", "a.txt", b"set\ncaf\xe9\nparis\n".as_slice(), "", 3, 1),
        row("a byte that nothing has", "", b"\xff\n\xff\n".as_slice(), "", 2, 2),
        row("a cut character", "", b"caf\xc3".as_slice(), "", 1, 1),
        row("a surrogate in UTF-8", "", b"\xed\xa0\x80\n".as_slice(), "", 1, 1),
        row("emoji", "", "\u{1F600} paris \u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}\n", "", 1, 0),
        row("right to left", "", "\u{202B}\u{5E9}\u{5DC}\u{5D5}\u{5DD} paris\u{202C}\n", "", 1, 0),
        row("combining marks", "", "cafe\u{301} Z\u{351}\u{36b}\u{343}alg\u{34e}o\n", "", 1, 0),
        row("NUL", "", "set\0paris\n\0\n", "", 2, 0),
        row("escape sequences", "", "\u{1b}[31mset\u{1b}[0m \u{9b}2J\n", "", 1, 0),
        row("white space of Unicode", "", "set\u{a0}an\u{2003}alarm\u{3000}\u{2028}\n\u{85}\n", "", 2, 0),
        row("what is no white space", "", "\u{200b}\u{feff}\u{ad}\n", "", 1, 0),
        row(
            "words like sentinels",
            "",
            "<extra_id_3> </s> <pad> <unk> paris\n<extra_id_0>\n",
            "--input-format words",
            2,
            0,
        ),
        row("words like tags", "", "O B-place I-place\nplace date_time\n", "", 2, 0),
        row("words like JSON", "", "{}\n[]\n\"\n", "", 3, 0),
        row("all punctuation", "", "!\"#$%\n", "", 1, 0),
        long("a word of 100 kB", "", "x".repeat(100_000), 1),
        long("a sentence of 500 words", "a.txt", "set ".repeat(500), 1),
        long("a line of 10 MB", "a.txt", "set an alarm \u{e9}".repeat(700_000), 1),
        long("a line of 10 MB without white space", "", vec![b'x'; 10 << 20], 1),
        row("a line of 65 MiB", "a.txt", [vec![b' '; 65 << 20], b"\nset\n".to_vec()].concat(), "", 2, 1),
        row("many lines", "", "paris\n".repeat(3000), "", 3000, 0),
        row("words", "", "paris.  7 am\n", "--input-format words", 1, 0),
    ]
}

/// Objects.
fn objects() -> Vec<Row> {
    vec![
        row("no line", "a.jsonl", "", "", 0, 0),
        row("blank lines are not records", "a.jsonl", "\n{\"text\":\"set\"}\n\n", "", 1, 0),
        row("an empty text", "a.jsonl", "{\"text\":\"\"}\n", "", 1, 0),
        row("no text", "a.jsonl", "{\"id\":1}\n{\"text\":\"set\"}\n", "", 2, 1),
        row("a text that is a number", "a.jsonl", "{\"text\":7}\n{\"text\":null}\n", "", 2, 2),
        row("values that are no objects", "a.jsonl", "7\n\"set\"\ntrue\nnull\n", "", 4, 4),
        row("a cut object", "a.jsonl", "{\"text\":\"set\"\n{\"text\":\"set\"}\n", "", 2, 1),
        row("a lone surrogate", "a.jsonl", "{\"text\":\"\\ud83d\"}\n", "", 1, 1),
        row("NUL and line ends in a text", "a.jsonl", "{\"text\":\"set\\u0000\\n\\r\\tparis\"}\n", "", 1, 0),
        row("two texts on a line", "a.jsonl", "{\"text\":\"set\"} {\"text\":\"set\"}\n", "", 1, 1),
        row("a field twice", "a.jsonl", "{\"text\":\"a\",\"text\":\"b\"}\n", "", 1, 0),
        row(
            "another field",
            "a.jsonl",
            "{\"body\":\"set\"}\n{\"text\":\"set\"}\n",
            "--text-field body",
            2,
            1,
        ),
        row("fields of ours", "a.jsonl", "{\"text\":\"set\",\"spans\":1,\"error\":2,\"tags\":3}\n", "", 1, 0),
        row("deep", "a.jsonl", format!("{{\"text\":{}1{}}}\n", "[".repeat(500), "]".repeat(500)), "", 1, 1),
        row(
            "numbers",
            "a.jsonl",
            "{\"text\":\"set\",\"n\":[12345678901234567890123,0.1]}\n{\"text\":\"set\",\"n\":-0}\n",
            "",
            2,
            0,
        ),
        row("an array", "a.json", "[{\"text\":\"set\"},\n {\"text\":\"paris\"}]\n", "", 2, 0),
        row("an array that is not closed", "a.json", "[{\"text\":\"set\"},\n {\"text\":\"pa", "", 2, 1),
        row("objects over several lines", "a.json", "{\n\"text\":\"set\"\n}\n{\n\"text\":\"a\"\n}", "", 2, 0),
        row("tokens", "a.jsonl", "{\"tokens\":[\"paris\",\".\"],\"ner_tags\":[1,0]}\n", "", 1, 0),
        row("no tokens", "a.jsonl", "{\"tokens\":[]}\n", "", 1, 0),
        row(
            "empty and odd tokens",
            "a.jsonl",
            "{\"tokens\":[\"\"]}\n{\"tokens\":[\"a b\"]}\n{\"tokens\":[1]}\n",
            "",
            3,
            3,
        ),
        row(
            "tokens of a text",
            "a.jsonl",
            "{\"text\":\"Paris  7\",\"tokens\":[\"Paris\",\"7\"]}\n",
            "",
            1,
            0,
        ),
        row("tokens of another text", "a.jsonl", "{\"text\":\"Paris\",\"tokens\":[\"set\"]}\n", "", 1, 0),
        row(
            "tokens with offsets that go back",
            "a.jsonl",
            "{\"text\":\"set paris\",\"tokens\":[{\"start\":4,\"end\":9},{\"start\":0,\"end\":3}]}\n",
            "",
            1,
            1,
        ),
        row(
            "tokens beyond the text",
            "a.jsonl",
            "{\"text\":\"set\",\"tokens\":[{\"start\":0,\"end\":9}]}\n",
            "",
            1,
            1,
        ),
        row(
            "a bad annotation",
            "a.jsonl",
            "{\"text\":\"set\",\"label\":[[5,99,\"X\"]],\"spans\":\"?\"}\n",
            "",
            1,
            0,
        ),
        row("a rejected annotation", "a.jsonl", "{\"text\":\"set\",\"answer\":\"reject\"}\n", "", 1, 0),
        row("doccano", "a.jsonl", "{\"id\":1,\"text\":\"set\",\"label\":[[0,3,\"X\"]]}\n", "", 1, 0),
        row(
            "Label Studio",
            "a.json",
            "[{\"id\":1,\"data\":{\"text\":\"set\"},\"annotations\":[]}]",
            "",
            1,
            0,
        ),
        row("spaCy", "a.json", "[[\"set\", {\"entities\": [[0,3,\"X\"]]}]]", "", 1, 0),
        row("JSON on stdin", "", "{\"text\":\"set\"}\n", "--input-format jsonl", 1, 0),
        long("a text of 10 MB", "a.jsonl", format!("{{\"text\":\"{}\"}}\n", "paris ".repeat(1_700_000)), 1),
    ]
}

/// Columns and tables.
fn tables() -> Vec<Row> {
    vec![
        row("no sentence", "a.conll", "\n\n", "", 0, 0),
        row("two columns", "a.conll", "paris B-x\n\nset O\n. O\n", "", 2, 0),
        row("words alone", "a.conll", "paris\n.\n\nset\n", "", 2, 0),
        row("two columns of one name", "a.csv", "id,text,text\n1,set,set\n", "", 1, 1),
        row(
            "a token that says it has another text",
            "a.jsonl",
            "{\"text\":\"set\",\"tokens\":[{\"start\":0,\"end\":3,\"text\":\"let\"}]}\n",
            "",
            1,
            1,
        ),
        row("slots that are wrong", "a.txt", "i\tI\t0:99:X\tset\td\ten\tp\t\n", "--input-format mtop", 1, 0),
        row("a word that is #", "a.conll", "#\nparis\n", "", 1, 0),
        row(
            "five columns and documents",
            "a.conll",
            "-DOCSTART- -X- -X- O O\n\na b c d O\n\n-DOCSTART- -X- -X- O O\n\na b c d O\n",
            "",
            2,
            0,
        ),
        row("comments", "a.conll", "# id 1\nset O\n\n# id 2\nset O\n", "", 2, 0),
        row("tags of no scheme", "a.conll", "set X-Y-Z\nparis 7\n", "", 1, 0),
        row("another number of columns", "a.conll", "set x O\nparis O\n\nset x O\n", "", 2, 1),
        row("an index column", "a.conll", "1\tset\tO\n2\tparis\tO\n", "", 1, 0),
        row("an index column among others", "a.conll", "1\tset\tx\tO\n2\tparis\tx\tO\n", "", 1, 0),
        row(
            "the same with its columns named",
            "a.conll",
            "1\tset\tx\tO\n2\tparis\tx\tO\n",
            "--columns index,word,_,tag",
            1,
            0,
        ),
        row("CRLF and a mark", "a.conll", "\u{feff}set O\r\n\r\nparis O\r\n", "", 2, 0),
        row("a bad byte", "a.conll", b"set O\n\nca\xe9 O\n\nset O\n".as_slice(), "", 3, 1),
        row("a tag and a word", "a.bio", "O\tset\nB-x\tparis\n\n", "--input-format bio-columns", 1, 0),
        row("a table of texts", "a.csv", "id,text\n1,set\n2,\"a \"\"b\"\"\nparis\"\n3,\n", "", 3, 0),
        row("semicolons", "a.csv", "id;text\n1;set, now\n", "", 1, 0),
        row("another separator", "a.csv", "id|text\n1|set, now\n", "--delimiter |", 1, 0),
        row("a header alone", "a.csv", "id,text\n", "", 0, 0),
        row("a name in capitals", "a.csv", "ID,Text\n1,set\n", "", 1, 0),
        row("no known column", "a.csv", "id,sentence\n1,set\n", "", 1, 1),
        row("a named column", "a.csv", "id,sentence\n1,set\n", "--text-field sentence", 1, 0),
        row("cells too many and too few", "a.csv", "id,text\n1,set,3\n1\n1,set\n", "", 3, 2),
        row("an open quote", "a.csv", "id,text\n1,set\n2,\"set\n", "", 2, 1),
        row("a cell like a list", "a.csv", "tags,text\n[x],set\n\"[1,2]\",set\n", "", 2, 0),
        row("a table of words", "a.csv", "sentence,word,tag\n1,set,O\n1,paris,O\n2,set,O\n", "", 2, 0),
        row("tabs", "a.tsv", "text\tid\nset \"now\t1\n\"set\"\t2\n", "", 2, 0),
        row("gzip", "a.txt.gz", gzipped(b"set\nparis\n"), "", 2, 0),
        row(
            "gzip in pieces",
            "a.jsonl.gz",
            [gzipped(b"{\"text\":\"a\"}\n"), gzipped(b"{\"text\":\"b\"}\n")].concat(),
            "",
            2,
            0,
        ),
        row("a cut gzip", "a.txt.gz", gzipped(&b"set\n".repeat(9))[..20].to_vec(), "", 10, 1),
        row("no gzip", "a.txt.gz", "set\n", "", 1, 1),
        row("an empty gzip", "a.txt.gz", "", "", 1, 1),
        row("no zstd", "a.txt.zst", "set\n", "", 1, 1),
        row("capitals", "A.TXT", "set\n", "", 1, 0),
        row("a name with blanks", "a b \u{e9}.txt", "set\n", "", 1, 0),
        row("another format than its name", "a.txt", "{\"text\":\"set\"}\n", "--input-format jsonl", 1, 0),
    ]
}

pub(crate) fn rows() -> Vec<Row> {
    [texts(), objects(), tables()].into_iter().flatten().collect()
}
