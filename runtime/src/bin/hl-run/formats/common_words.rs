//! The words of a text that several models tagged. Each may split the text in its own way.

use std::collections::BTreeSet;

use hyperloader_runtime::Tagged;

/// A part of the text, in characters, and the tag that each model gives it.
pub(super) type Row = ((usize, usize), Vec<String>);

/// The parts of the text between the edges of the words of all models. If all models have the same words, these are the parts; else
/// words are cut, and a word's tag goes on over its parts, so that each model's spans stay as they are.
pub(super) fn rows(models: &[Tagged]) -> Vec<Row> {
    let places = |tagged: &Tagged| tagged.words.iter().map(|word| (word.start, word.end)).collect::<Vec<_>>();
    let first = models.first().map(places).unwrap_or_default();
    if models.iter().skip(1).all(|tagged| places(tagged) == first) {
        let tag = |at: usize, tagged: &Tagged| tagged.tags.get(at).cloned().unwrap_or_else(|| "O".to_owned());
        let row = |(at, place)| (place, models.iter().map(|tagged| tag(at, tagged)).collect());
        return first.into_iter().enumerate().map(row).collect();
    }
    let words = || models.iter().flat_map(|tagged| &tagged.words);
    let edges: BTreeSet<usize> = words().flat_map(|word| [word.start, word.end]).collect();
    let edges: Vec<usize> = edges.into_iter().collect();
    // The first word of each model that does not end before the part.
    let mut next = vec![0; models.len()];
    let mut rows = Vec::new();
    for pair in edges.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        let mut is_word = false;
        let mut tags = Vec::with_capacity(models.len());
        for (tagged, next) in models.iter().zip(&mut next) {
            while tagged.words.get(*next).is_some_and(|word| word.end <= start) {
                *next += 1;
            }
            let word = tagged.words.get(*next).filter(|word| word.start <= start);
            is_word |= word.is_some();
            let tag = word.and_then(|word| Some((word, tagged.tags.get(*next)?)));
            tags.push(match tag {
                Some((word, tag)) if word.start == start => tag.clone(),
                Some((_, tag)) => tag.get(2..).map_or_else(|| tag.clone(), |label| format!("I-{label}")),
                None => "O".to_owned(),
            });
        }
        if is_word {
            rows.push(((start, end), tags));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use hyperloader_core::text::words::{WordRule, WordSplitting};

    use super::super::examples::tagged;
    use super::*;

    fn shown(models: &[Tagged]) -> String {
        let text: Vec<char> = models[0].text.chars().collect();
        let row = |((start, end), tags): Row| {
            format!("{} {}\n", text[start..end].iter().collect::<String>(), tags.join(" "))
        };
        rows(models).into_iter().map(row).collect()
    }

    #[test]
    fn the_same_words_are_rows_and_others_are_cut_at_all_edges() {
        let text = "call caf\u{e9}'s 7am";
        let first = tagged(text, &["O", "B-place", "B-time"], &[(5, 11, "place"), (12, 15, "time")]);
        let same = tagged(text, &["B-x", "O", "O"], &[(0, 4, "x")]);
        insta::assert_snapshot!(shown(&[first.clone(), same]), @r"
        call O B-x
        café's B-place O
        7am B-time O
        ");
        let mut finer = tagged(text, &[], &[]);
        finer.words = WordSplitting { rule: WordRule::Clitics, lowercase: false }.split(text);
        finer.tags = ["O", "B-name", "O", "O", "B-half"].map(str::to_owned).to_vec();
        insta::assert_snapshot!(shown(&[first, finer]), @r"
        call O O
        café B-place B-name
        's I-place O
        7 B-time O
        am I-time B-half
        ");
        assert!(rows(&[tagged("", &[], &[]), tagged(" ", &[], &[])]).is_empty());
    }
}
