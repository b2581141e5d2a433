//! Figure 2 of the paper: F1 over the share of the training sentences, a curve per method.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::format::percent;
use super::results::{Mean, Results};
use crate::report::plots::{COLORS, FONT, PlotError, encode, register};

/// Width and height of the figure, in pixels.
const SIZE: (u32, u32) = (1440, 900);
const TITLE: &str = "mean test F1 by share of the training sentences";
/// The horizontal distance between methods, as a share of the axis, so that their error bars do not overlap.
const ASIDE: f64 = 0.007;

/// The curve of a method: share in per cent, and F1 over seeds.
struct Curve {
    label: String,
    points: Vec<(f64, Mean)>,
}

/// The figure as a PNG file, 1440 by 900 pixels: the mean of the tasks' test F1 with its standard deviation over seeds.
///
/// # Errors
/// If plotters cannot draw it.
pub(super) fn png(results: &Results) -> Result<Vec<u8>, PlotError> {
    let error = |reason: &dyn Error| PlotError { title: TITLE, reason: reason.to_string() };
    let mut pixels = vec![0; (SIZE.0 * SIZE.1 * 3) as usize];
    let area = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
    draw(&area, &curves(results)).map_err(|reason| error(&*reason))?;
    drop(area);
    encode(&pixels, SIZE).map_err(|reason| error(&reason))
}

fn curves(results: &Results) -> Vec<Curve> {
    let plan = results.plan();
    let rows: Vec<_> = plan.fractions.iter().flat_map(|&fraction| results.rows(fraction)).collect();
    let curve = |label: &String| Curve {
        label: label.clone(),
        points: rows
            .iter()
            .filter(|row| row.method == *label)
            .filter_map(|row| Some((100.0 * row.fraction, row.mean?)))
            .collect(),
    };
    plan.methods.iter().map(|method| curve(&method.label)).collect()
}

fn draw<B: DrawingBackend>(area: &DrawingArea<B, Shift>, curves: &[Curve]) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    register()?;
    let Horizontal { left, right, aside, only } = Horizontal::of(curves);
    let (low, high) = vertical(curves);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(40)
        .caption(TITLE, (FONT, 30))
        .x_label_area_size(76)
        .y_label_area_size(124)
        .build_cartesian_2d(left..right, low..high)?;
    let mut mesh = chart.configure_mesh();
    if only.is_some() {
        mesh.set_tick_mark_size(LabelAreaPosition::Bottom, 0);
    }
    mesh.disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.5))
        .x_labels(10)
        .x_desc(match only {
            Some(share) => format!("{} of the training sentences", percent(share / 100.0)),
            None => "training sentences, %".to_owned(),
        })
        .y_desc("F1")
        .x_label_formatter(&|x| only.map_or(format!("{}", (x * 100.0).round() / 100.0), |_| String::new()))
        .y_label_formatter(&|y| format!("{y:.3}"))
        .label_style((FONT, 26))
        .axis_desc_style((FONT, 26))
        .draw()?;
    for (number, curve) in curves.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let place = aside * (number as f64 - (curves.len() as f64 - 1.0) / 2.0);
        let line = color.stroke_width(4);
        let points = || curve.points.iter().map(|(share, f1)| (share + place, *f1));
        chart
            .draw_series(LineSeries::new(points().map(|(x, f1)| (x, f1.mean)), line))?
            .label(&curve.label)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 36, y)], line));
        chart.draw_series(points().map(|(x, f1)| Circle::new((x, f1.mean), 7, color.filled())))?;
        let cap = 0.002 * (right - left);
        let bars = points().filter_map(|(x, f1)| Some((x, f1.mean, f1.deviation?)));
        chart.draw_series(bars.flat_map(|(x, mean, deviation)| {
            let (bottom, top) = (mean - deviation, mean + deviation);
            let stroke = |ends: [(f64, f64); 2]| PathElement::new(ends, color.stroke_width(2));
            [
                stroke([(x, bottom), (x, top)]),
                stroke([(x - cap, bottom), (x + cap, bottom)]),
                stroke([(x - cap, top), (x + cap, top)]),
            ]
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .legend_area_size(48)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 26))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The horizontal axis, in per cent of the training sentences.
struct Horizontal {
    left: f64,
    right: f64,
    /// The distance between two methods at the same share.
    aside: f64,
    /// The share, if all points have the same.
    only: Option<f64>,
}

impl Horizontal {
    fn of(curves: &[Curve]) -> Self {
        let (first, last) =
            ends(curves.iter().flat_map(|curve| curve.points.iter().map(|(share, _)| *share)));
        if first == last {
            // Methods are drawn next to each other, with space for the legend on the right.
            let aside = 2.0 / curves.len() as f64;
            return Self { left: first - 1.2, right: first + 2.8, aside, only: Some(first) };
        }
        let room = 0.08 * (last - first);
        let (left, right) = (first - room, last + room);
        Self { left, right, aside: ASIDE * (right - left), only: None }
    }
}

/// The range of the vertical axis: it contains all error bars, and stays within 0..1 if they do.
fn vertical(curves: &[Curve]) -> (f64, f64) {
    let bars = curves.iter().flat_map(|curve| &curve.points).flat_map(|(_, f1)| {
        let deviation = f1.deviation.unwrap_or(0.0);
        [f1.mean - deviation, f1.mean + deviation]
    });
    let (low, high) = ends(bars);
    let room = (0.1 * (high - low)).max(0.01);
    ((low - room).max(0.0).min(low), (high + room).min(1.0).max(high))
}

/// The minimum and maximum of `values`; 0 and 1 without values.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.map(|value| (value, value)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64, Option<f64>)]) -> Curve {
        let point = |(share, mean, deviation): &(f64, f64, Option<f64>)| {
            (*share, Mean { mean: *mean, deviation: *deviation })
        };
        Curve { label: "a <method>".into(), points: points.iter().map(point).collect() }
    }

    fn svg(curves: &[Curve]) -> String {
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&area, curves).unwrap();
        drop(area);
        text
    }

    #[test]
    fn each_method_is_a_line_with_an_error_bar_at_each_point_that_has_a_deviation() {
        let first = curve(&[(10.0, 0.5, Some(0.02)), (20.0, 0.6, Some(0.01)), (100.0, 0.7, None)]);
        let text = svg(&[first, curve(&[(10.0, 0.4, Some(0.1))])]);
        let lines = |color: &str| {
            let lines = text.lines().filter(|line| line.contains("polyline") && line.contains(color));
            lines.map(|line| line.split("points=\"").nth(1).unwrap().matches(',').count()).collect::<Vec<_>>()
        };
        // The curve, three lines for each of two error bars, and the line in the legend.
        assert_eq!(lines("#0072B2"), [3, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(lines("#D55E00").len(), 1 + 3 + 1);
        assert!(text.contains("a &lt;method&gt;"));
    }

    #[test]
    fn any_scores_can_be_drawn() {
        for points in [&[][..], &[(100.0, 0.0, None)], &[(100.0, 1.0, Some(0.5))], &[(0.1, 0.2, Some(0.0))]] {
            assert!(svg(&[curve(points)]).contains("</svg>"));
        }
    }

    #[test]
    fn methods_at_one_share_stand_side_by_side_and_it_is_named_below() {
        let point = || curve(&[(7.000000000000001, 0.5, Some(0.02))]);
        let text = svg(&[point(), point(), point()]);
        assert!(text.contains("7 % of the training sentences"), "{text}");
        let centre = |line: &str| line.split("cx=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let centres: Vec<i32> = text
            .lines()
            .filter(|line| line.contains("<circle"))
            .map(|line| centre(line).parse().unwrap())
            .collect();
        assert_eq!(centres.len(), 3);
        assert!(centres.windows(2).all(|pair| pair[1] - pair[0] > 100), "{centres:?}");
    }
}
