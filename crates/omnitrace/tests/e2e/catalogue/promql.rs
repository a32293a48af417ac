//! Names and labels in PromQL: which labels a result has, and whether each that is named was there.

use std::collections::BTreeSet;

use promql_parser::label::Matcher;
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
    VectorSelector,
};

use super::known::{Known, Labels};

/// Labels of the result, or the first name that does not exist.
pub fn labels_of(known: &Known, text: &str) -> Result<Labels, String> {
    let expression = parser::parse(text).map_err(|why| format!("not PromQL: {why}"))?;
    labels(known, &expression)
}

/// Every series that the expression reads by its name.
pub fn names_of(known: &Known, text: &str) -> BTreeSet<String> {
    struct Names<'a>(&'a Known, BTreeSet<String>);
    impl promql_parser::util::ExprVisitor for Names<'_> {
        type Error = ();
        fn pre_visit(&mut self, expression: &Expr) -> Result<bool, ()> {
            let selector = match expression {
                Expr::VectorSelector(selector) => selector,
                Expr::MatrixSelector(matrix) => &matrix.vs,
                _ => return Ok(true),
            };
            // `{job="jaeger"}` names no metric: it must not count as a use of every one.
            let has_name = selector.name.is_some()
                || all_matchers(selector)
                    .iter()
                    .any(|matcher| matcher.name == "__name__");
            if let (true, Ok(series)) = (has_name, series(self.0, selector)) {
                self.1
                    .extend(series.into_iter().map(|(name, _)| name.clone()));
            }
            Ok(true)
        }
    }
    let mut names = Names(known, BTreeSet::new());
    if let Ok(expression) = parser::parse(text) {
        let _ = promql_parser::util::walk_expr(&mut names, &expression);
    }
    names.1
}

fn labels(known: &Known, expression: &Expr) -> Result<Labels, String> {
    match expression {
        Expr::Aggregate(aggregate) => aggregated(known, aggregate),
        Expr::Binary(binary) => joined(known, binary),
        Expr::Call(call) => called(known, call),
        Expr::Unary(unary) => labels(known, &unary.expr),
        Expr::Paren(paren) => labels(known, &paren.expr),
        Expr::Subquery(subquery) => labels(known, &subquery.expr),
        Expr::VectorSelector(selector) => selected(known, selector),
        Expr::MatrixSelector(matrix) => selected(known, &matrix.vs),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => Ok(Labels::new()),
    }
}

/// The series that a selector can mean, and their labels.
fn series<'a>(
    known: &'a Known,
    selector: &VectorSelector,
) -> Result<Vec<(&'a String, &'a Labels)>, String> {
    let by_name = |matcher: &Matcher| matcher.name == "__name__";
    let matchers = all_matchers(selector);
    if let Some(name) = &selector.name {
        let found = known.series().filter(|(series, _)| *series == name);
        return some(found.collect(), name);
    }
    let names: Vec<&Matcher> = matchers
        .iter()
        .copied()
        .filter(|found| by_name(found))
        .collect();
    if !names.is_empty() {
        let wanted = |name: &str| names.iter().all(|matcher| matcher.is_match(name));
        let found = known.series().filter(|(series, _)| wanted(series));
        return some(found.collect(), &names[0].value);
    }
    // No name at all: whatever has these labels.
    let has_all = |labels: &Labels| matchers.iter().all(|found| labels.contains(&found.name));
    let found = known.series().filter(|(_, labels)| has_all(labels));
    some(found.collect(), &selector.to_string())
}

fn some<T>(found: Vec<T>, name: &str) -> Result<Vec<T>, String> {
    match found.is_empty() {
        true => Err(format!(
            "no owner declares {name:?} (`telemetry::metrics!`), nor do dashboards/third-party.toml or the recording rules"
        )),
        false => Ok(found),
    }
}

fn all_matchers(selector: &VectorSelector) -> Vec<&Matcher> {
    let alternatives = selector.matchers.or_matchers.iter().flatten();
    selector
        .matchers
        .matchers
        .iter()
        .chain(alternatives)
        .collect()
}

fn selected(known: &Known, selector: &VectorSelector) -> Result<Labels, String> {
    let mut all = Labels::new();
    for (name, labels) in series(known, selector)? {
        for matcher in all_matchers(selector) {
            if !labels.contains(&matcher.name) && matcher.name != "__name__" {
                return Err(unknown(&matcher.name, &format!("{name}{labels:?}")));
            }
        }
        all.extend(labels.iter().cloned());
    }
    Ok(all)
}

fn unknown(label: &str, place: &str) -> String {
    format!("label {label:?} is not in {place}")
}

fn require<'a>(names: impl IntoIterator<Item = &'a String>, there: &Labels) -> Result<(), String> {
    // Every series has a name.
    let missing = |name: &&String| !there.contains(*name) && *name != "__name__";
    match names.into_iter().find(missing) {
        Some(missing) => Err(unknown(missing, &format!("{there:?}"))),
        None => Ok(()),
    }
}

fn aggregated(known: &Known, aggregate: &AggregateExpr) -> Result<Labels, String> {
    let inner = labels(known, &aggregate.expr)?;
    let keeps_all = ["topk", "bottomk", "limitk"].contains(&aggregate.op.to_string().as_str());
    match &aggregate.modifier {
        Some(modifier) => {
            let named = &modifier.labels().labels;
            require(named, &inner)?;
            Ok(match modifier {
                _ if keeps_all => inner,
                LabelModifier::Include(_) => named.iter().cloned().collect(),
                LabelModifier::Exclude(_) => without(inner, named),
            })
        }
        None if keeps_all => Ok(inner),
        None => Ok(Labels::new()),
    }
}

fn without(mut labels: Labels, names: &[String]) -> Labels {
    labels.retain(|label| !names.contains(label));
    labels
}

fn joined(known: &Known, binary: &BinaryExpr) -> Result<Labels, String> {
    let (left, right) = (labels(known, &binary.lhs)?, labels(known, &binary.rhs)?);
    let either: Labels = left.union(&right).cloned().collect();
    let Some(modifier) = &binary.modifier else {
        return Ok(either);
    };
    if let Some(matching) = &modifier.matching {
        let named = &matching.labels().labels;
        match matching {
            LabelModifier::Include(_) => {
                require(named, &left)?;
                require(named, &right)?;
            }
            LabelModifier::Exclude(_) => require(named, &either)?,
        }
    }
    match &modifier.card {
        VectorMatchCardinality::ManyToOne(from_one) => {
            require(&from_one.labels, &right)?;
            Ok(left.into_iter().chain(from_one.labels.clone()).collect())
        }
        VectorMatchCardinality::OneToMany(from_one) => {
            require(&from_one.labels, &left)?;
            Ok(right.into_iter().chain(from_one.labels.clone()).collect())
        }
        VectorMatchCardinality::ManyToMany if binary.op.to_string() != "or" => Ok(left),
        _ => Ok(either),
    }
}

fn called(known: &Known, call: &Call) -> Result<Labels, String> {
    let mut result = Labels::new();
    for argument in &call.args.args {
        result.extend(labels(known, argument)?);
    }
    let text = |index: usize| match call.args.args.get(index).map(|argument| &**argument) {
        Some(Expr::StringLiteral(literal)) => literal.val.clone(),
        _ => String::new(),
    };
    match call.func.name {
        "label_replace" => {
            let source = text(3);
            require(Some(&source).filter(|name| !name.is_empty()), &result)?;
            result.insert(text(1));
        }
        "label_join" => {
            result.insert(text(1));
        }
        "histogram_quantile" => {
            require(&["le".to_owned()], &result)?;
            result.remove("le");
        }
        "scalar" | "absent" | "absent_over_time" => result.clear(),
        _ => {}
    }
    Ok(result)
}
