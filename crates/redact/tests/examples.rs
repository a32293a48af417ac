//! `examples.toml`, asked of this crate. The end-to-end test `stack_redaction` asks the collector.

use std::borrow::Cow;

use redact::{MARK, is_secret_key, redact, redact_value};
use serde::Deserialize;

#[derive(Deserialize)]
struct Examples {
    redacted: Vec<[String; 2]>,
    kept: Vec<String>,
    secret_keys: Vec<String>,
    kept_keys: Vec<String>,
    differs: Vec<Differs>,
}

#[derive(Deserialize)]
struct Differs {
    text: String,
    rust: String,
}

fn examples() -> Examples {
    toml::from_str(include_str!("../examples.toml")).expect("examples.toml")
}

#[test]
fn secrets_go_and_what_stands_around_them_stays() {
    let examples = examples();
    let differs = examples.differs.into_iter();
    let all = examples.redacted.into_iter();
    let mut wrong = Vec::new();
    for [text, becomes] in all.chain(differs.map(|example| [example.text, example.rust])) {
        for text in [&text, &becomes] {
            let clean = redact(text);
            if clean != becomes {
                wrong.push(format!("{text}\n  became {clean}\n  not    {becomes}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_is_no_secret_is_borrowed() {
    for text in examples().kept {
        assert_eq!(redact(&text), text);
        assert!(matches!(redact(&text), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn keys_tell() {
    let Examples {
        secret_keys,
        kept_keys,
        ..
    } = examples();
    for key in secret_keys {
        assert_eq!(redact_value(&key, "plain"), MARK, "{key}");
    }
    for key in kept_keys {
        assert!(!is_secret_key(&key), "{key}");
        assert_eq!(redact_value(&key, "plain"), "plain");
    }
}

/// The search for constants that comes before the patterns knows ASCII, and a pattern whatever folds into it.
#[test]
fn letters_that_fold_into_a_keys_are_seen_through() {
    for text in ["paſſword=hunter22", "api_\u{212a}ey=hunter22"] {
        assert!(redact(text).ends_with(MARK), "{text}");
    }
    assert!(is_secret_key("acceſſ_\u{212a}ey"));
}

#[test]
fn every_rule_names_constants_to_search_for() {
    for rule in redact::rules::words() {
        assert!(!rule.hints.is_empty(), "{}", rule.find);
        let folded = |hint: &&str| hint.to_ascii_lowercase() == **hint;
        assert!(rule.hints.iter().all(folded), "{:?}", rule.hints);
    }
}
