//! Charts of values over updates, as SVG text and as PNG bytes.
//!
//! Text is measured, and drawn in the PNG, with the Hack typeface that is compiled in. No font of the system is used.

use std::error::Error;
use std::ops::Range;
use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::register_font;

/// The registered name of the typeface. In the page, the browser shows its own font of this name.
pub(crate) const FONT: &str = "sans-serif";
/// Width and height of a chart in the page, in pixels.
const SVG_SIZE: (u32, u32) = (720, 300);
/// Width and height of a PNG, in pixels.
const PNG_SIZE: (u32, u32) = (1440, 720);
/// Curves with at most this many points show each point.
const FEW_POINTS: usize = 40;
/// A smaller loss above the floor is rounding error.
const SMALLEST_LOSS: f64 = 1e-4;

/// Okabe and Ito's colors, which color-blind readers can tell apart, without their yellow, which is pale on white.
pub(crate) const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(70, 70, 70),
];

/// The points of a curve: the step and the value.
pub type Points = Vec<(u64, f64)>;

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw plot `{title}`: {reason}")]
pub struct PlotError {
    /// The title of the plot.
    pub title: &'static str,
    /// The reason, from plotters.
    pub reason: String,
}

/// The quantity on the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The loss above the floor in nats per token, on a logarithmic scale.
    Loss,
    /// F1 from 0 to 1.
    F1,
}

/// A curve.
#[derive(Debug, Clone)]
pub struct Curve {
    /// The name in the legend.
    pub name: String,
    /// The index of its color. Indices after the last color start again.
    pub color: usize,
    /// The steps and values.
    pub points: Points,
}

/// Curves over updates.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Heading above the plot.
    pub title: &'static str,
    /// The quantity on the vertical axis.
    pub axis: Axis,
    /// Curves in the order of the legend.
    pub curves: Vec<Curve>,
}

impl Chart {
    /// The chart as an `<svg>` element, 720 by 300 pixels.
    ///
    /// # Errors
    /// If plotters cannot draw it.
    pub fn svg(&self) -> Result<String, PlotError> {
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, SVG_SIZE).into_drawing_area();
        self.draw(&area, 1.0).map_err(|reason| self.error(&*reason))?;
        drop(area);
        Ok(text)
    }

    /// The chart as a PNG file, 1440 by 720 pixels.
    ///
    /// # Errors
    /// If plotters cannot draw it.
    pub fn png(&self) -> Result<Vec<u8>, PlotError> {
        let (width, height) = PNG_SIZE;
        let mut pixels = vec![0; (width * height * 3) as usize];
        let area = BitMapBackend::with_buffer(&mut pixels, PNG_SIZE).into_drawing_area();
        self.draw(&area, 2.0).map_err(|reason| self.error(&*reason))?;
        drop(area);
        encode(&pixels, PNG_SIZE).map_err(|reason| self.error(&reason))
    }

    fn error(&self, reason: &dyn Error) -> PlotError {
        PlotError { title: self.title, reason: reason.to_string() }
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        register()?;
        let pixels = |n: f64| (n * scale).round() as u32;
        let font = |size: f64| (FONT, size * scale);
        let last = self.points().map(|(step, _)| step).max().unwrap_or(1).max(1);
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .margin(pixels(8.0))
            .margin_right(pixels(20.0))
            .caption(self.title, font(15.0))
            .x_label_area_size(pixels(38.0))
            .y_label_area_size(pixels(62.0))
            .build_cartesian_2d(0..last, self.vertical())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(BLACK.mix(0.5))
            .x_labels(8)
            .x_desc("updates")
            .y_desc(self.axis.name())
            .y_label_formatter(&|y| self.axis.label(*y))
            .label_style(font(13.0))
            .axis_desc_style(font(13.0))
            .draw()?;
        for curve in &self.curves {
            let color = COLORS[curve.color % COLORS.len()];
            let points = || curve.points.iter().map(|(step, value)| (*step, self.axis.place(*value)));
            let line = color.stroke_width(pixels(2.0));
            let end = pixels(18.0) as i32;
            chart
                .draw_series(LineSeries::new(points(), line))?
                .label(&curve.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + end, y)], line));
            if curve.points.len() <= FEW_POINTS {
                chart.draw_series(points().map(|p| Circle::new(p, pixels(3.0), color.filled())))?;
            }
        }
        chart
            .configure_series_labels()
            .position(match self.axis {
                Axis::Loss => SeriesLabelPosition::UpperRight,
                Axis::F1 => SeriesLabelPosition::LowerRight,
            })
            .legend_area_size(pixels(24.0))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(font(13.0))
            .draw()?;
        area.present()?;
        Ok(())
    }

    fn points(&self) -> impl Iterator<Item = (u64, f64)> {
        self.curves.iter().flat_map(|curve| curve.points.iter().copied())
    }

    fn vertical(&self) -> Vertical {
        if self.axis == Axis::F1 {
            return Vertical { range: 0.0..1.0, ticks: (0..=5).map(|n| f64::from(n) / 5.0).collect() };
        }
        let places = || self.points().map(|(_, value)| self.axis.place(value));
        let lowest = places().fold(f64::INFINITY, f64::min);
        let highest = places().fold(f64::NEG_INFINITY, f64::max);
        let (lowest, highest) = if lowest <= highest { (lowest, highest) } else { (-1.0, 0.0) };
        let mut ticks: Vec<f64> =
            (-4..6).flat_map(|power| [1.0, 2.0, 5.0].map(|n: f64| n.log10() + f64::from(power))).collect();
        // The range ends at the labels around the values.
        let low = ticks.iter().copied().rfind(|tick| *tick <= lowest).unwrap_or(lowest);
        let high = ticks.iter().copied().find(|tick| *tick > highest).unwrap_or(highest + 0.1);
        ticks.retain(|tick| (low..=high).contains(tick));
        Vertical { range: low..high, ticks }
    }
}

/// The range of the vertical axis and its labeled positions.
struct Vertical {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for Vertical {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (bottom, top): (i32, i32)) -> i32 {
        let share = (place - self.range.start) / (self.range.end - self.range.start);
        bottom + (share * f64::from(top - bottom)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Self::Loss => "nats per token",
            Self::F1 => "F1",
        }
    }

    /// The position of a value on the axis.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Loss => value.max(SMALLEST_LOSS).log10(),
            Self::F1 => value,
        }
    }

    /// The label of a position.
    fn label(self, place: f64) -> String {
        match self {
            Self::Loss => format!("{}", (10_f64.powf(place) * 1e4).round() / 1e4),
            Self::F1 => format!("{place:.1}"),
        }
    }
}

/// Registers the typeface with plotters, once.
pub(crate) fn register() -> Result<(), Box<dyn Error>> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let bytes = epaint_default_fonts::HACK_REGULAR;
    match KNOWN.get_or_init(|| register_font(FONT, FontStyle::Normal, bytes).is_ok()) {
        true => Ok(()),
        false => Err("the typeface is unreadable".into()),
    }
}

/// Encodes RGB pixels as a PNG file.
pub(crate) fn encode(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(axis: Axis, points: &[(u64, f64)]) -> Chart {
        let curve =
            |name: &str, color, points: &[_]| Curve { name: name.into(), color, points: points.into() };
        Chart { title: "t", axis, curves: vec![curve("<a>", 0, points), curve("b", 1, &[])] }
    }

    #[test]
    fn a_curve_is_one_polyline_through_its_points_and_names_are_escaped() {
        let svg = chart(Axis::F1, &[(0, 0.0), (50, 0.5), (100, 1.0)]).svg().unwrap();
        let curve: Vec<&str> =
            svg.lines().filter(|l| l.contains("polyline") && l.contains("#0072B2")).collect();
        let points = |line: &str| line.split("points=\"").nth(1).unwrap().matches(',').count();
        // The curve and its sample in the legend.
        assert_eq!(curve.iter().map(|line| points(line)).collect::<Vec<_>>(), [3, 2]);
        assert!(svg.contains("&lt;a&gt;") && !svg.contains("<a>"));
    }

    #[test]
    fn any_values_can_be_drawn() {
        for axis in [Axis::Loss, Axis::F1] {
            for points in [&[][..], &[(0, 0.0)], &[(7, 1e-9), (9, 1e9)], &[(1, 0.5), (u64::MAX / 2, 0.5)]] {
                chart(axis, points).svg().unwrap();
                chart(axis, points).png().unwrap();
            }
        }
    }

    #[test]
    fn a_loss_axis_is_labelled_at_1_2_and_5_around_its_values() {
        let labels = |values: &[(u64, f64)]| -> Vec<String> {
            chart(Axis::Loss, values)
                .vertical()
                .ticks
                .into_iter()
                .map(|tick| Axis::Loss.label(tick))
                .collect()
        };
        assert_eq!(labels(&[(1, 8.0), (2, 0.3)]), ["0.2", "0.5", "1", "2", "5", "10"]);
        assert_eq!(labels(&[(1, 0.15)]), ["0.1", "0.2"]);
    }

    #[test]
    fn a_png_decodes_to_its_size_and_holds_the_curve() {
        let file = chart(Axis::F1, &[(0, 0.1), (100, 0.9)]).png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), PNG_SIZE);
        let count = |wanted: [u8; 3]| pixels.chunks(3).filter(|p| *p == wanted).count();
        assert!(count([0, 114, 178]) > 500, "{}", count([0, 114, 178]));
        assert!(count([0, 0, 0]) > 100, "text is black");
    }
}
