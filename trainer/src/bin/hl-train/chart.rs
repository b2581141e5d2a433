//! Curves in a terminal.

/// Columns of a chart, without its axis.
const WIDTH: usize = 64;
/// Lines of a chart.
const HEIGHT: usize = 6;
/// Parts of a cell that a bar fills, from none to all.
const PARTS: [char; 9] =
    [' ', '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];

/// The values of a curve as bars over `low`, a line of text each: the top line first, with the values of both ends on the left.
/// If there are more points than columns, a column is the mean of some.
pub(crate) fn chart(points: &[(u64, f64)], low: f64, high: f64) -> Vec<String> {
    let columns = columns(points);
    let eighths = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.0 };
        // The lowest value still shows.
        ((share * (HEIGHT * 8) as f64).round() as usize).clamp(1, HEIGHT * 8)
    };
    let line = |line: usize| {
        let below = (HEIGHT - 1 - line) * 8;
        let axis = match line {
            0 => format!("{high:>8.4}"),
            _ if line == HEIGHT - 1 => format!("{low:>8.4}"),
            _ => " ".repeat(8),
        };
        let cell = |value: &f64| PARTS[eighths(*value).saturating_sub(below).min(8)];
        let bars: String = columns.iter().map(cell).collect();
        format!("{axis} |{}", bars.trim_end())
    };
    (0..HEIGHT).map(line).collect()
}

/// The means of consecutive finite points, at most [`WIDTH`].
fn columns(points: &[(u64, f64)]) -> Vec<f64> {
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).filter(|value| value.is_finite()).collect();
    let count = values.len().min(WIDTH);
    let column = |at: usize| {
        let some = &values[at * values.len() / count..(at + 1) * values.len() / count];
        some.iter().sum::<f64>() / some.len() as f64
    };
    (0..count).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_the_values() {
        let points: Vec<(u64, f64)> = (0..12).map(|n| (n, n as f64 / 11.0)).collect();
        let drawn = chart(&points, 0.0, 1.0);
        assert_eq!(drawn[0], format!("  1.0000 |{}\u{2584}\u{2588}", " ".repeat(10)));
        assert_eq!(drawn[HEIGHT - 1], format!("  0.0000 |\u{2581}\u{2584}{}", "\u{2588}".repeat(10)));
        let filled = |column: usize| {
            drawn.iter().filter(|line| line.chars().nth(10 + column).is_some_and(|c| c != ' ')).count()
        };
        assert!((0..12).map(filled).is_sorted() && filled(0) == 1 && filled(11) == HEIGHT, "{drawn:?}");
    }

    #[test]
    fn long_curves_are_averaged_and_odd_ones_drawn() {
        let long: Vec<(u64, f64)> = (0..1000).map(|n| (n, (n / 500) as f64)).collect();
        let drawn = chart(&long, 0.0, 1.0);
        assert!(drawn.len() == HEIGHT && drawn[0].chars().count() == 10 + WIDTH, "{drawn:?}");
        assert_eq!(columns(&long).len(), WIDTH);
        assert_eq!(columns(&[(1, f64::NAN), (2, 3.0)]), [3.0]);
        assert!(chart(&[(1, 0.5)], 0.5, 0.5)[HEIGHT - 1].ends_with("|\u{2581}"));
        assert!(chart(&[], 0.0, 1.0).iter().all(|line| line.ends_with('|')));
    }
}
