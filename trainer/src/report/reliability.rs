//! How reliable a task's scores are, before and after calibration.

use std::error::Error;

use hyperloader_core::calibration::reliability::{Bin, Reliability};
use hyperloader_core::run::TaskCalibration;
use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

use super::plots::{COLORS, FONT, PlotError, register};

/// Width and height of the plot, in pixels.
const SIZE: (u32, u32) = (360, 340);
const TITLE: &str = "reliability of scores";

/// The section of a task: expected calibration errors and the plot.
pub(super) fn section(calibration: &TaskCalibration) -> Result<Markup, PlotError> {
    let TaskCalibration { calibration, fitted_on, tested_on, before, after, sentences } = calibration;
    let plot = svg(before, after).map_err(|reason| PlotError { title: TITLE, reason: reason.to_string() })?;
    let maps = calibration.maps;
    let temperature = format!("{:.3}", calibration.temperature);
    let of_sentences =
        sentences.iter().map(|change| ("sentences", &change.before, &change.after, maps.sentence));
    let rows = [("tags", before, after, maps.tag)].into_iter().chain(of_sentences);
    Ok(html! {
        h3 { "Scores on validation data" }
        table {
            thead {
                tr { th { "scores of" } th { "number" } th { "calibration" } th { "ECE" } th { "by chance" } th { "debiased" } }
            }
            tbody {
                @for (name, before, after, map) in rows {
                    (row(name, "before", before))
                    (row(name, if map.is_some() { "after, mapped" } else { "after" }, after))
                }
            }
        }
        p.note {
            "ECE is the expected calibration error on " (tested_on) " sentences. "
            @if after.error_by_chance().is_some() {
                "By chance is the ECE that calibrated scores would have, on average, on as many sentences. Debiased is the root mean "
                "squared error after subtracting sampling noise. Each half of the sentences has the scores of a fit on the other. "
                "The temperature, " (temperature) ", and the maps that are exported were fitted on " (fitted_on) " of them. "
            } @else {
                "The temperature, " (temperature) ", and the maps were fitted on " (fitted_on) " other sentences. "
            }
            "Points on the diagonal are reliable: a share of correct tags equal to the score."
        }
        figure.square { (PreEscaped(plot)) }
    })
}

fn row(name: &str, when: &str, reliability: &Reliability) -> Markup {
    let number = |number: f64| format!("{number:.4}");
    let known = |estimate: Option<f64>| estimate.map_or_else(|| "unknown".to_owned(), number);
    html! {
        tr {
            th { (name) }
            td { (reliability.count()) }
            td { (when) }
            td { (number(reliability.error())) }
            td { (known(reliability.error_by_chance())) }
            td { (known(reliability.debiased_error())) }
        }
    }
}

fn svg(before: &Reliability, after: &Reliability) -> Result<String, Box<dyn Error>> {
    register()?;
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .caption(TITLE, (FONT, 15.0))
        .x_label_area_size(38)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(BLACK.mix(0.5))
        .x_labels(6)
        .y_labels(6)
        .x_desc("mean score")
        .y_desc("share of correct tags")
        .label_style((FONT, 13.0))
        .axis_desc_style((FONT, 13.0))
        .draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], BLACK.mix(0.4).stroke_width(1)))?;
    for (name, color, reliability) in [("before", COLORS[1], before), ("after", COLORS[0], after)] {
        let line = color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points(reliability), line))?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], line));
        chart.draw_series(points(reliability).into_iter().map(|p| Circle::new(p, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 13.0))
        .draw()?;
    area.present()?;
    drop(chart);
    drop(area);
    Ok(text)
}

/// The mean score and the share of correct tags of each bin that has tags.
fn points(reliability: &Reliability) -> Vec<(f64, f64)> {
    let share = |bin: &Bin| {
        let count = bin.count as f64;
        (bin.score / count, bin.correct as f64 / count)
    };
    reliability.bins.iter().filter(|bin| bin.count > 0).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plot_has_a_point_for_each_bin_with_tags() {
        let mut before = Reliability::default();
        assert!(svg(&before, &before).is_ok(), "no tags");
        before.add([(0.95, true), (0.97, false), (0.2, false)]);
        let found = points(&before);
        assert_eq!(found.len(), 2);
        assert!((found[1].0 - 0.96).abs() < 1e-12 && (found[1].1 - 0.5).abs() < 1e-12);
        let plot = svg(&before, &Reliability::default()).unwrap();
        assert_eq!(plot.matches("<circle").count(), 2);
    }
}
