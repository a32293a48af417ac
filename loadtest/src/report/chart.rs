//! Lines over time, as SVG inside the page: nothing is loaded from anywhere.

use std::fmt::Write;

use crate::progress::Point;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 120.0;

/// One line: its name, its colour, its value at a point.
pub type Line = (&'static str, &'static str, fn(&Point) -> f64);

/// A chart with a title, its lines on one scale from 0.
pub fn chart(title: &str, unit: &str, points: &[Point], lines: &[Line]) -> String {
    let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0_f64, f64::max);
    let top = most(
        &mut points
            .iter()
            .flat_map(|point| lines.iter().map(|(_, _, of)| of(point))),
    );
    let end = most(&mut points.iter().map(|point| point.at_seconds));
    let mut out = format!(
        "<figure><figcaption>{title} <small>0 to {top:.1} {unit}, {end:.0} s</small></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
    );
    for (_, colour, of) in lines {
        let _ = write!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\""
        );
        for point in points {
            let x = point.at_seconds / end.max(0.001) * WIDTH;
            let y = HEIGHT - 2.0 - of(point) / top.max(0.001) * (HEIGHT - 4.0);
            let _ = write!(out, "{x:.1},{y:.1} ");
        }
        out.push_str("\"/>");
    }
    out.push_str("</svg><p>");
    for (name, colour, _) in lines {
        let _ = write!(out, "<span style=\"color:{colour}\">■</span> {name} ");
    }
    out.push_str("</p></figure>");
    out
}
