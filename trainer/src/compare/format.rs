//! Numbers and tables for people.

use std::fmt::Write as _;

/// The text of a missing value.
pub(crate) const MISSING: &str = "-";

/// A share in per cent: `12.5 %`.
pub(super) fn percent(fraction: f64) -> String {
    // Nine decimal places hide that 0.07 * 100 is 7.000000000000001.
    format!("{} %", (fraction * 1e11).round() / 1e9)
}

/// A Markdown table whose columns are also aligned as plain text. All columns but the first are right-aligned.
pub(crate) fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    // A bar in a label would end the cell.
    let escaped = |cell: &str| cell.replace('|', "\\|");
    let header: Vec<String> = header.iter().map(|cell| escaped(cell)).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let chars = |cell: &String| cell.chars().count();
    let width = |column: usize| {
        let cells = std::iter::once(&header).chain(&rows).filter_map(|row| row.get(column));
        cells.map(chars).max().unwrap_or(0).max(2)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut line = String::from("|");
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(line, " {cell:<width$} |"),
                _ => write!(line, " {cell:>width$} |"),
            };
        }
        line + "\n"
    };
    let rule: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(column, width)| match column {
            0 => "-".repeat(*width),
            _ => "-".repeat(width - 1) + ":",
        })
        .collect();
    line(&header) + &line(&rule) + &rows.iter().map(|row| line(row)).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_no_rounding_errors() {
        assert_eq!([1.0, 0.1, 0.07, 0.125].map(percent), ["100 %", "10 %", "7 %", "12.5 %"]);
    }

    #[test]
    fn bars_in_cells_are_escaped() {
        let text = markdown(&["m", "x"], &[vec!["a|b".into(), "1".into()]]);
        assert_eq!(text, "| m    |  x |\n| ---- | -: |\n| a\\|b |  1 |\n");
    }
}
