//! Removes what must never be in telemetry: e-mail addresses, card numbers, credentials, row values in database errors.
//!
//! The services redact with it before anything leaves them, the console redacts what others send. The collector of the
//! standard stack runs the same rules: its configuration is written from [`rules`], and `examples.toml` tests both.

mod cards;
mod percent;
pub mod plain;
pub mod rules;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::{Captures, Regex, RegexSet};

use rules::Rule;

/// Replaces a secret.
pub const MARK: &str = "[redacted]";

/// How many layers of percent-encoding the search undoes: a proxy may have encoded a text again.
const LAYERS: usize = 3;

/// Returns `text` with every secret replaced by [`MARK`]; borrows when there is none. Where a secret hid behind
/// percent-encoding, what surrounds it comes out decoded. Redacting twice is the same as once.
///
/// A text that is to be cut must be redacted first: half a token is not recognised.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out = redact_plain(text);
    let mut layer = percent::decoded(&out);
    for _ in 0..LAYERS {
        let Some(decoded) = layer else { break };
        let clean = redact_plain(&decoded);
        layer = percent::decoded(&clean);
        if clean != decoded {
            out = Cow::Owned(clean.into_owned());
        }
    }
    out
}

/// [`redact`] for the value of an attribute, a field or a label, which is a secret as a whole if its key says so.
pub fn redact_value<'a>(key: &str, value: &'a str) -> Cow<'a, str> {
    if is_secret_key(key) && !value.is_empty() {
        Cow::Owned(MARK.to_owned())
    } else {
        redact(value)
    }
}

/// Whether the value of a key like `db.password` or `http.request.header.authorization` is a secret, whatever it is.
pub fn is_secret_key(key: &str) -> bool {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| compiled(&rules::secret_key()));
    static CONSTANTS: LazyLock<AhoCorasick> = LazyLock::new(|| constants(rules::IN_KEYS));
    may_hold(&CONSTANTS, key) && PATTERN.is_match(key)
}

fn redact_plain(text: &str) -> Cow<'_, str> {
    let engine = &*ENGINE;
    let hints = Hints::of(text);
    let mut out = Cow::Borrowed(text);
    if hints.words && may_hold(&engine.constants, text) {
        for index in &engine.words.matches(text) {
            engine.rules[index].apply(&mut out);
        }
    }
    if hints.at {
        engine.email.apply(&mut out);
    }
    if hints.card {
        cards::redact(&mut out);
    }
    out
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let words = rules::words();
    Engine {
        constants: constants(words.iter().flat_map(|rule| rule.hints)),
        words: RegexSet::new(words.iter().map(|rule| ascii(&rule.find))).expect("constant"),
        rules: words.iter().map(Compiled::from).collect(),
        email: Compiled::from(&rules::email()),
    }
});

struct Engine {
    /// The hints of all `rules`.
    constants: AhoCorasick,
    /// The patterns of `rules` in one automaton: one pass finds out which rules match.
    words: RegexSet,
    rules: Vec<Compiled>,
    email: Compiled,
}

/// A rule as regular expressions.
struct Compiled {
    find: Regex,
    with: &'static str,
    keep: Option<Regex>,
}

impl From<&Rule> for Compiled {
    fn from(rule: &Rule) -> Self {
        let keep = rule.keep.as_ref();
        Self {
            find: compiled(&rule.find),
            with: rule.with,
            keep: keep.map(|keep| compiled(&format!("^(?:{keep})"))),
        }
    }
}

impl Compiled {
    /// Replaces the matches that the rule does not keep. An unchanged text stays borrowed, which callers rely on.
    fn apply(&self, text: &mut Cow<'_, str>) {
        let (mut clean, mut copied) = (String::new(), 0);
        let mut replacement = String::new();
        for found in self.find.captures_iter(text) {
            let whole = found.get_match();
            replacement.clear();
            self.expand(&found, &text[whole.start()..], &mut replacement);
            if replacement != whole.as_str() {
                let _ = write!(clean, "{}{replacement}", &text[copied..whole.start()]);
                copied = whole.end();
            }
        }
        if copied > 0 {
            clean.push_str(&text[copied..]);
            *text = Cow::Owned(clean);
        }
    }

    fn expand(&self, found: &Captures<'_>, from_here: &str, replacement: &mut String) {
        match &self.keep {
            Some(keep) if keep.is_match(from_here) => replacement.push_str(&found[0]),
            _ => found.expand(self.with, replacement),
        }
    }
}

/// Compiles a pattern as the collector's engine reads it.
fn compiled(pattern: &str) -> Regex {
    Regex::new(&ascii(pattern)).expect("a constant pattern")
}

fn constants<'a>(texts: impl IntoIterator<Item = &'a &'static str>) -> AhoCorasick {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(texts)
        .expect("a few constants")
}

/// Whether one of the constants may occur: searching for them is faster than a pattern. A case-insensitive pattern also
/// treats `ſ` as s, and the kelvin sign as k.
fn may_hold(constants: &AhoCorasick, text: &str) -> bool {
    constants.is_match(text) || !text.is_ascii()
}

/// Go's word boundary knows only ASCII. Restricting Rust's makes it equal, and faster.
fn ascii(pattern: &str) -> String {
    pattern.replace(r"\b", r"(?-u:\b)")
}

/// The result of a fast pass over the bytes, so that ordinary text needs no pattern.
struct Hints {
    at: bool,
    words: bool,
    card: bool,
}

/// The most, with nothing but what may group them in between.
fn digits_in_a_row(text: &str) -> usize {
    let (mut longest, mut digits) = (0, 0);
    for byte in text.bytes() {
        match KINDS[usize::from(byte)] {
            DIGIT => digits += 1,
            GROUPING => {}
            _ => digits = 0,
        }
        longest = longest.max(digits);
    }
    longest
}

/// A text that is shorter has no room for a credential that announces itself by its own form.
const SHORTEST_CREDENTIAL: usize = 15;

/// Kinds of bytes.
const AT: u8 = 1;
const PERCENT: u8 = 2;
const SIGN: u8 = 4;
const DIGIT: u8 = 8;
const GROUPING: u8 = 16;

/// The kind of each byte.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        kinds[byte] = match byte as u8 {
            b'@' => AT,
            b'%' => PERCENT,
            b'=' | b':' | b'>' => SIGN,
            b'0'..=b'9' => DIGIT,
            b' ' | b'\t' | b'.' | b'_' | b'+' | b'-' | 0x80.. => GROUPING,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

impl Hints {
    fn of(text: &str) -> Self {
        // No branch depends on a byte here: the texts are short, and all are scanned.
        let (mut seen, mut digits) = (0, 0);
        for byte in text.bytes() {
            let kind = KINDS[usize::from(byte)];
            seen |= kind;
            digits += usize::from(kind == DIGIT);
        }
        Self {
            at: seen & AT != 0 || (seen & PERCENT != 0 && text.contains("%40")),
            words: seen & (SIGN | PERCENT) != 0 || text.len() >= SHORTEST_CREDENTIAL,
            card: digits >= cards::SHORTEST && digits_in_a_row(text) >= cards::SHORTEST,
        }
    }
}
