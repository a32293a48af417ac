//! The patterns that recognise secrets, in the order in which they run. Both Rust's and Go's regex engine must accept them (no look-around).
//!
//! A rule that has exceptions names them in `keep`, a pattern that begins where `find` does and may look further. After
//! a change, `UPDATE_DOCS=1 cargo test -p redact` writes the collector's configuration.

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The pattern of the secret.
    pub find: String,
    /// The replacement, with `${1}` for the first group.
    pub with: &'static str,
    /// The pattern of matches that are not secrets. Of its two groups, the first alone must not match `find`.
    pub keep: Option<String>,
    /// Constants in lower case; every text that the rule matches contains one of them. Go's regex engine is slow, but a
    /// search for a constant is not.
    pub hints: &'static [&'static str],
}

fn rule(find: impl Into<String>, with: &'static str) -> Rule {
    Rule {
        find: find.into(),
        with,
        keep: None,
        hints: &[],
    }
}

impl Rule {
    fn but(mut self, keep: impl Into<String>) -> Self {
        self.keep = Some(keep.into());
        self
    }

    fn hinted(mut self, hints: &'static [&'static str]) -> Self {
        debug_assert!(self.hints.is_empty(), "hinted twice");
        self.hints = hints;
        self
    }
}

/// Ends of keys, with any text before them: `accessToken`, `db_password`, `x-api-key`.
const LONG: &str = "pass(?:words?|wd|phrase|code)|pwd|secret|token|credentials?|signature|cookie2?|authorization|\
    (?:api|access|account|auth|encryption|private|secret|signing)[_-]?key|sess(?:ion)?[_-]?id|auth(?:orization)?[_-]?code|code[_-]?verifier";

/// Keys that are too short to be searched for inside words: they stand alone, or after `_`, `-` or `.`.
const SHORT: &str = "pass|sid|sig|session|otp|pin|cvv|cvc|jwt";

/// Every key contains one of these.
pub(crate) const IN_KEYS: &[&str] = &[
    "auth",
    "cookie",
    "credential",
    "cvc",
    "cvv",
    "jwt",
    "key",
    "otp",
    "pass",
    "pin",
    "pwd",
    "secret",
    "sess",
    "sid",
    "sig",
    "token",
    "verifier",
];

/// The same in `camelCase`.
const CAMEL: &str = "(?-i:[a-z0-9](?:Pass|Sid|Sig|Session|Otp|Pin|Cvv|Cvc|Jwt))";

/// Texts that may follow in the key: `secretKey`, `password_confirmation`, `password2`.
const SUFFIX: &str = "(?:[_-]?(?:key|hash|value|confirm(?:ation)?)|[0-9])?";

/// Between key and value: `:`, `=`, `=>`, percent-encoded too.
const SEPARATOR: &str = r"(?:=>|:=|={1,3}|:{1,2}|%3[ad])";

/// Texts in the place of a secret that are not secrets: placeholders of statements and templates, marks of earlier
/// redactions…
const PLACEHOLDER: &str = r"(?:[a-z_]+\()?\$[0-9]{1,3}(?:::[a-z_]+)?|\?|%s|%\([a-z_]+\)s|:(?:[0-9]{1,3}|[a-z_]*(?:password|token|secret))|@p[0-9]+|\$?\{[a-z0-9_.]*\}|<[a-z0-9_ .-]+>|\*+|\[redacted\]|\[filtered\]|[0-9]{1,2}";

/// … and the words of messages about secrets.
const PROSE: &str = "absent|active|allowed|already|and|are|bad|blank|cannot|changed|closed|created|denied|disabled|does|empty|enabled|ended|error|expired|\
    failed|failure|false|for|forbidden|from|has|hidden|in|incorrect|invalid|is|malformed|mismatch|missing|must|nil|no|none|not|null|of|ok|omitted|\
    opened|optional|or|present|refused|rejected|required|revoked|set|should|started|string|the|too|true|unauthorized|undefined|unexpected|unknown|\
    unset|unsupported|valid|verified|was|wrong";

/// Ends a word.
const END: &str = r#"[.:!?]?(?:[ \t\r\n&;,"'\\}\])<]|$)"#;

/// The parameter of an authentication scheme, not a credential: `Bearer realm="…"`.
const PARAMETER: &str = r#"[a-z_]+=["A-Za-z0-9]"#;

/// Letters beyond ASCII, without spaces, dashes and quotation marks.
const LETTERS: &str =
    r"\x{a1}-\x{1fff}\x{2070}-\x{2fff}\x{3040}-\x{d7ff}\x{f900}-\x{fdff}\x{20000}-\x{2ffff}";

/// A key with its index (`password[]`, `user[password]`) and closing quote.
fn key() -> String {
    format!(
        r#"(?:(?:{LONG}){SUFFIX}|(?:\b|_)(?:{SHORT})[0-9]?|{CAMEL})(?:\[[^\] \t\r\n=:&]*\]|\])*\\*["']?"#
    )
}

/// A value: quoted (in a text that is itself quoted, the quotes are escaped), a list, an object, or a word. One that is
/// cut off has no end.
fn value() -> String {
    let escaped = r#"\\{2,}"[^"]*"?|\\"(?:[^"\\]|\\\\(?:\\["\\])?|\\[^"\\])*(?:\\")?"#;
    let quoted = r#""(?:[^"\\]|(?s:\\.))*"?|'(?:[^'\\]|(?s:\\.))*'?"#;
    let rest = r#"(?:[^ \t\r\n&;,"'<>)}\]\\]|\\[^"'nrt])*"#;
    // A list may be the mark of a rule that ran before, and only the first part of the value.
    let nested = format!(r"\[[^\]]*\]?{rest}|\{{[^{{}}]*\}}");
    let word = format!(r#"(?:[^ \t\r\n&;,"'>){{}}\[\]\\]|\{{[^ \t\r\n"'{{}}]|\\[^"'nrt]){rest}"#);
    format!("(?:{escaped}|{quoted}|{nested}|{word})")
}

/// `token: missing`, `password = $1`, `a.token = b.token`.
fn harmless_value() -> String {
    let key = key();
    let column = format!("[a-z0-9_]+\\.[a-z_]*(?:{LONG}|{SHORT})");
    format!(
        r#"(?i)({key})([ \t+]*{SEPARATOR}[ \t+]*["'\\]*(?:{PLACEHOLDER}|{PROSE}|{column}){END})"#
    )
}

/// Rules about words, all but the e-mail addresses and the cards.
pub fn words() -> Vec<Rule> {
    let mut rules = by_form();
    // After the schemes: `authorization=Bearer x` must lose x, not only the word after the `=`.
    rules.extend(by_key());
    rules
}

/// Rules for secrets that their form reveals.
fn by_form() -> Vec<Rule> {
    vec![
        rule(
            r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
            "[redacted]",
        )
        .hinted(&["private key"]),
        // Postgres: `Key (customer_email)=(…) already exists.`, `Failing row contains (…).`
        rule(
            r"Key \(([^)]*)\)=\((?:(?:[^()]|\([^()]*\))*\)|.*)",
            "Key (${1})=([redacted])",
        )
        .hinted(&["key ("]),
        rule(
            r"Failing row contains \((?:.*\)|.*)",
            "Failing row contains ([redacted])",
        )
        .hinted(&["failing row contains ("]),
        // user:password@ in a URL, and as Go's MySQL driver writes it.
        rule(
            r#"(?i)\b([a-z][a-z0-9+.\-]*://)[^ \t\r\n/?#"'<>]+@"#,
            "${1}[redacted]@",
        )
        .hinted(&["@"]),
        rule(
            r"(?i)\b[a-z0-9_.\-]+:[^ \t\r\n@/]+(@(?:tcp|unix)\()",
            "[redacted]${1}",
        )
        .hinted(&["@tcp(", "@unix("]),
        rule(
            r"(?i)\b(bearer)(?:[ \t+]|%20)+[a-z0-9._~+/\-]{8,}=*",
            "${1} [redacted]",
        )
        .hinted(&["bearer"])
        .but(format!(
            r"(?i)\b(bearer)([ \t]+(?:auth[a-z]+|credentials?|challenges?|mechanism|protected|required|security){END}|[ \t]+{PARAMETER})"
        )),
        // Encoded user names and passwords hardly ever are a word of one case.
        rule(
            r"(?i)\b(basic|negotiate|ntlm)(?:[ \t+]|%20)+[a-z0-9._~+/\-]{8,}=*",
            "${1} [redacted]",
        )
        .hinted(&["basic", "negotiate", "ntlm"])
        .but(format!(
            r"\b((?i:basic|negotiate|ntlm))([ \t]+(?:[A-Za-z]?[a-z]+(?:[/._+\-][a-z]+)*|[A-Z]+){END}|[ \t]+{PARAMETER})"
        )),
        // Tokens with a known form: JSON web tokens, AWS, Google, GitHub, GitLab, Slack, Stripe, Google.
        rule(
            r"\beyJ[A-Za-z0-9_-]{5,}\.(?:eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){1,3})",
            "[redacted]",
        )
        .hinted(&["eyj"]),
        rule(
            r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}\b|gh[opsur]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|(?:xoxe\.)?xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|ya29\.[A-Za-z0-9_.-]{16,}|GOCSPX-[A-Za-z0-9_-]{16,}|(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz)[A-Za-z0-9+/]{20,}=*|[rs]k[_-](?:live|test|proj)[_-][A-Za-z0-9_-]{8,}|AIza[A-Za-z0-9_-]{30,})",
            "[redacted]",
        )
        .hinted(&["aiza", "akia", "asia", "ghp_", "gho_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "gocspx-", "iqojb3jpz2lu", "ogzxivyxdz", "xapp-", "xox", "ya29.", "live", "test", "proj"]),
        // URLs that are secret as a whole: with a webhook's URL, anyone may write to its channel. JSON may escape the
        // slashes.
        rule(
            r#"(?i)((?:hooks\.slack(?:-gov)?\.com(?:\\?/|%2f)(?:services|workflows|triggers)|discord(?:app)?\.com(?:\\?/|%2f)api(?:\\?/|%2f)webhooks|webhook\.office\.com(?:\\?/|%2f)webhookb2)(?:\\?/|%2f))(?:\\/|[^ \t\r\n"'<>()\[\]{}|,;\\])+"#,
            "${1}[redacted]",
        )
        .hinted(&["hooks.slack", "discord", "webhook.office"]),
    ]
}

/// Rules for secrets that their key reveals.
fn by_key() -> Vec<Rule> {
    let (key, value) = (key(), value());
    vec![
        // Headers whose value contains spaces, to the end of the line.
        rule(
            r#"(?i)\b(authorization:[ \t]*|cookie2?:[ \t]*)[^ \t\r\n"'\\\[{](?:[^\r\n"'=]|=(?:"[^"\r\n]*"?)?)*"#,
            "${1}[redacted]",
        )
        .hinted(IN_KEYS)
        .but(harmless_value()),
        rule(
            format!(r"(?i)({key}[ \t\r\n+]*{SEPARATOR}[ \t\r\n+]*){value}"),
            "${1}[redacted]",
        )
        .hinted(IN_KEYS)
        .but(harmless_value()),
        rule(
            format!(r"(?i)(<[a-z0-9_.:\-]*{key}(?:[ \t][^<>]*)?>)[^<>]+(</)"),
            "${1}[redacted]${2}",
        )
        .hinted(IN_KEYS),
        // Without a sign between key and value: statements about users, options of commands.
        rule(
            r"(?i)\b((?:password|identified by)[ \t]+)'(?:[^'\\]|\\.)*'?",
            "${1}[redacted]",
        )
        .hinted(&["identified by", "password"]),
        rule(
            format!(r#"(?i)(--[a-z0-9_.\-]*{key}[ \t]+)[^ \t\r\n"'<>$\-][^ \t\r\n]*"#),
            "${1}[redacted]",
        )
        .hinted(&["--"])
        .but(format!(r"(?i)(--[a-z0-9_.\-]*{key})([ \t]+(?:{PROSE}|flag|option|to|with){END})")),
        // `code` is a secret where OAuth hands it over, in a query or form. Countries and statuses are shorter.
        rule(
            r#"(?i)([?&#](?:code|auth)=)[^ \t\r\n&"'<>]{4,}"#,
            "${1}[redacted]",
        )
        .hinted(&["code=", "auth="]),
        rule(
            r#"(?i)((?:^|[ \t\r\n"'])code=)[^ \t\r\n&"'<>]{4,}(&)"#,
            "${1}[redacted]${2}",
        )
        .hinted(&["code="]),
        rule(r#"(?i)^(code=)[^ \t\r\n&"'<>]{4,}$"#, "${1}[redacted]")
        .hinted(&["code="]),
    ]
}

/// Ends of host names without mail: of machines in a private network…
const PRIVATE: &str = "internal|lan|local|localdomain|localhost|svc";

/// … and of files (`logo@2x.png`, `render@app.js`).
const FILES: &str = "css|gif|html|jpe?g|[cm]?js|json|jsx|map|png|svg|tsx?|webp";

/// E-mail addresses: of any script, quoted, at an address literal. What follows the `@` must look like a public domain:
/// `express@4.18.2` is a version, `postgres@db.internal` a login on a machine.
pub fn email() -> Rule {
    let local = format!(r"[a-z0-9._%+'\-{LETTERS}]+");
    let label = format!(r"[a-z0-9\-{LETTERS}]+");
    let with_letter = format!(r"[0-9\-]*[a-z{LETTERS}][a-z0-9\-{LETTERS}]*");
    let top = format!(r"(?:[a-z][a-z0-9\-]*[a-z0-9]|[{LETTERS}][a-z0-9\-{LETTERS}]*)");
    let domain = format!(r"[0-9]+\.{top}|(?:[0-9]+\.)?{with_letter}\.(?:{label}\.)*{top}");
    let literal = r"\[(?:ipv6:)?[0-9a-f.:]+\]";
    let quoted = r#""(?:[^"\\\r\n]|\\.)+""#;
    rule(
        format!("(?i)(?:{quoted}|{local})(?:@|%40)(?:{literal}|{domain})"),
        "[redacted]",
    )
        .hinted(&["@", "%40"])
    .but(format!(
        r"(?i)({local})((?:@|%40)(?:{label}\.)+(?:{PRIVATE}|{FILES})(?:[^a-z0-9.\-{LETTERS}]|\.(?:[^a-z0-9{LETTERS}]|$)|$))"
    ))
}

/// Four groups of digits, or three, as on a card.
pub fn card_groups() -> String {
    let s = r"[ \t._+\x{a0}\x{2000}-\x{200b}\x{2010}-\x{2015}\x{202f}\x{3000}\-]{1,3}";
    format!(
        "[2-6][0-9]{{3}}{s}[0-9]{{4}}{s}[0-9]{{4}}{s}[0-9]{{1,7}}|3[0-9]{{3}}{s}[0-9]{{6}}{s}[0-9]{{4,5}}"
    )
}

/// Cards by issuer prefix (ISO/IEC 7812), for an engine that cannot compute the check digit and must be the narrower for it.
pub fn collector_cards() -> Rule {
    let run = "4[0-9]{12}(?:[0-9]{3}){0,2}|5[1-5][0-9]{14}|2[2-7][0-9]{14}|3[47][0-9]{13}|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12}";
    let groups = card_groups();
    rule(format!(r"\b(?:{run}|{groups})\b"), "[redacted]")
}

/// Keys of attributes whose value is always a secret. `session.id` is not one of them: it is OpenTelemetry's name for an id
/// that groups one visitor's actions, made for telemetry.
pub fn secret_key() -> String {
    format!(r"(?i)(?:(?:{LONG}){SUFFIX}|(?:^|[._\-])(?:{SHORT})[0-9]?|{CAMEL})$")
}
