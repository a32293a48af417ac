//! `omnitrace alertmanager-config`: Alertmanager expands no variables, so its file is rendered from the secrets that are
//! present. They are named in it, never copied.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use slo::Time;
use slo::routing::{DEADMAN, ENVIRONMENT, INHIBITIONS, Inhibition, PAGE, Route, TICKET, WATCHDOG};

use crate::terminal::write_raw;
use crate::values::base_url;

/// The file with what Alertmanager shows to herald.
const HERALD_SECRET: &str = "herald_secret";

/// Text of `omnitrace help alertmanager-config`.
pub const ABOUT: &str = "\
Render Alertmanager's configuration. Which receivers there are is decided by the files in --secrets:

  slack_webhook_url                          Slack, pages and tickets
  pagerduty_routing_key                      PagerDuty, pages
  smtp_smarthost, smtp_from, smtp_to         e-mail, tickets
  smtp_auth_username, smtp_auth_password     the login, if the mail server wants one
  webhook_url                                any webhook, pages and tickets
  watchdog_url                               the alert that always fires, not through herald

With --herald-url every alert also goes to `omnitrace herald`, which adds evidence. Herald passes the alert that always fires on to \
HERALD_WATCHDOG_URL. Alertmanager shows herald the secret in the file herald_secret, if there is one.

The configuration names the files of the secrets and copies none of them, except for the e-mail addresses.";

/// `omnitrace alertmanager-config`.
#[derive(Debug, Args)]
pub struct AlertmanagerConfigArgs {
    /// Directory with a file for each secret
    #[arg(long, value_name = "DIR")]
    secrets: PathBuf,
    /// Where Alertmanager will find that directory (default: the same)
    #[arg(long, value_name = "DIR")]
    secrets_mounted_at: Option<PathBuf>,
    #[command(flatten)]
    herald: HeraldArgs,
    /// Where to write it (default: stdout)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Herald's address and credentials.
#[derive(Debug, Default, Args)]
struct HeraldArgs {
    /// Base URL of `omnitrace herald`
    #[arg(long, value_name = "URL", env = "HERALD_URL", value_parser = base_url)]
    herald_url: Option<String>,
    /// PEM file with the certificates to trust for an https:// address of herald, where Alertmanager will find it
    #[arg(long, value_name = "FILE", requires = "herald_url")]
    herald_ca: Option<String>,
    /// PEM file with the certificate to show to herald, where Alertmanager will find it
    #[arg(
        long,
        value_name = "FILE",
        requires = "herald_url",
        requires = "herald_key"
    )]
    herald_certificate: Option<String>,
    /// PEM file with the private key of --herald-certificate, where Alertmanager will find it
    #[arg(long, value_name = "FILE", requires = "herald_certificate")]
    herald_key: Option<String>,
}

impl HeraldArgs {
    /// Herald's paths for alerts, and for the one that always fires.
    fn webhooks(&self, secrets: &Secrets) -> Result<Option<[Value; 2]>> {
        let Some(url) = &self.herald_url else {
            return Ok(None);
        };
        let login = |url: url::Url| !url.username().is_empty() || url.password().is_some();
        if url::Url::parse(url).is_ok_and(login) {
            bail!(
                "--herald-url: everybody could read its user and password in the file; write herald's secret to {}",
                secrets.directory.join(HERALD_SECRET).display()
            );
        }
        let mut http = Map::new();
        if let Some(secret) = secrets.text(HERALD_SECRET)? {
            if secret.contains(char::is_whitespace) {
                bail!(
                    "{}: Alertmanager sends one secret; give herald the others by HERALD_SECRET",
                    secrets.directory.join(HERALD_SECRET).display()
                );
            }
            let file = secrets.file(HERALD_SECRET)?;
            http.insert("authorization".into(), json!({"credentials_file": file}));
        }
        let files = [
            ("ca_file", &self.herald_ca),
            ("cert_file", &self.herald_certificate),
            ("key_file", &self.herald_key),
        ];
        let files: Map<String, Value> = files
            .into_iter()
            .filter_map(|(name, file)| Some((name.to_owned(), file.as_deref()?.into())))
            .collect();
        if !files.is_empty() {
            http.insert("tls_config".into(), files.into());
        }
        let webhook = |path: &str, is_end_told: bool| {
            let mut webhook = json!({"url": format!("{url}/{path}"), "send_resolved": is_end_told});
            if !http.is_empty() {
                webhook["http_config"] = http.clone().into();
            }
            webhook
        };
        Ok(Some([webhook("alerts", true), webhook("watchdog", false)]))
    }
}

/// Renders, writes, and says which receivers are switched on.
pub fn run(args: &AlertmanagerConfigArgs) -> Result<()> {
    let secrets = Secrets::read(args)?;
    let config = render(&secrets, args.herald.webhooks(&secrets)?)?;
    // YAML is a superset of JSON.
    let text = serde_json::to_string_pretty(&config)? + "\n";
    let Some(path) = &args.output else {
        write_raw(text.as_bytes());
        return Ok(());
    };
    // Readable for Alertmanager, which is another user; there is no secret in it.
    owned::write_output(path, text.as_bytes()).context("--output")?;
    let on = secrets.switched_on(args.herald.herald_url.is_some());
    let on = if on.is_empty() {
        "none: alerts are shown, and sent to nobody".to_owned()
    } else {
        on.join(", ")
    };
    eprintln!("{}: receivers {on}", path.display());
    Ok(())
}

/// The configuration for a herald on this machine, and for the receivers whose secrets are in `directory`.
pub fn with_herald(directory: &Path, herald_url: &str) -> Result<String> {
    let secrets = Secrets {
        directory: directory.to_owned(),
        mounted: directory.to_owned(),
    };
    let herald = HeraldArgs {
        herald_url: Some(herald_url.to_owned()),
        ..HeraldArgs::default()
    };
    let config = render(&secrets, herald.webhooks(&secrets)?)?;
    Ok(serde_json::to_string_pretty(&config)?)
}

/// Which secrets there are.
struct Secrets {
    directory: PathBuf,
    mounted: PathBuf,
}

impl Secrets {
    fn read(args: &AlertmanagerConfigArgs) -> Result<Self> {
        if !args.secrets.is_dir() {
            bail!(
                "--secrets {}: there is no such directory; an empty one switches every receiver off",
                args.secrets.display()
            );
        }
        Ok(Self {
            directory: args.secrets.clone(),
            mounted: args
                .secrets_mounted_at
                .clone()
                .unwrap_or_else(|| args.secrets.clone()),
        })
    }

    /// The text of a secret; an empty file counts as unset.
    fn text(&self, name: &str) -> Result<Option<String>> {
        let path = self.directory.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// The path of a secret for Alertmanager, if the secret is set.
    fn file(&self, name: &str) -> Result<Option<String>> {
        let mounted = self.mounted.join(name);
        let mounted = mounted
            .to_str()
            .filter(|path| is_plain(path))
            .with_context(|| format!("{mounted:?}: the path has characters that the file cannot hold; name the directory's place with --secrets-mounted-at"))?
            .to_owned();
        Ok(self.text(name)?.map(|_| mounted))
    }

    /// The same for a secret that contains a URL.
    fn url_file(&self, name: &str) -> Result<Option<String>> {
        if let Some(text) = self.text(name)?
            && base_url(&text).is_err()
        {
            bail!(
                "{}: does not hold an http or https URL",
                self.directory.join(name).display()
            );
        }
        self.file(name)
    }

    /// A value that e-mail needs besides the smart host.
    fn required(&self, name: &str) -> Result<String> {
        self.text(name)?.with_context(|| {
            format!(
                "{} is missing: e-mail needs smtp_smarthost, smtp_from and smtp_to; remove all smtp_* files to switch it off",
                self.directory.join(name).display()
            )
        })
    }

    /// The same for a value that Alertmanager must accept.
    fn copied(&self, name: &str, allowed: &str, is_good: fn(&str) -> bool) -> Result<String> {
        let text = self.required(name)?;
        if !is_plain(&text) || !is_good(&text) {
            bail!(
                "{}: does not hold {allowed}",
                self.directory.join(name).display()
            );
        }
        Ok(text)
    }

    fn switched_on(&self, herald: bool) -> Vec<&'static str> {
        let files = [
            ("slack_webhook_url", "Slack"),
            ("pagerduty_routing_key", "PagerDuty"),
            ("smtp_smarthost", "e-mail"),
            ("webhook_url", "webhook"),
            ("watchdog_url", "watchdog"),
        ];
        let present = files
            .into_iter()
            .filter(|(file, _)| matches!(self.text(file), Ok(Some(_))))
            .map(|(_, name)| name);
        herald
            .then_some("herald")
            .into_iter()
            .chain(present)
            .collect()
    }
}

fn render(secrets: &Secrets, herald: Option<[Value; 2]>) -> Result<Value> {
    let mut page = receiver("page");
    let mut ticket = receiver("ticket");
    let mut watchdog = receiver("watchdog");
    if let Some([webhook, beat]) = herald {
        add(&mut page, "webhook_configs", webhook.clone());
        add(&mut ticket, "webhook_configs", webhook);
        add(&mut watchdog, "webhook_configs", beat);
    }
    if let Some(file) = secrets.url_file("slack_webhook_url")? {
        add(&mut page, "slack_configs", slack(&file));
        add(&mut ticket, "slack_configs", slack(&file));
    }
    if let Some(file) = secrets.file("pagerduty_routing_key")? {
        add(&mut page, "pagerduty_configs", pagerduty(&file));
    }
    if let Some(email) = email(secrets)? {
        add(&mut ticket, "email_configs", email);
    }
    if let Some(file) = secrets.url_file("webhook_url")? {
        let webhook = json!({"url_file": file, "send_resolved": true});
        add(&mut page, "webhook_configs", webhook.clone());
        add(&mut ticket, "webhook_configs", webhook);
    }
    if let Some(file) = secrets.url_file("watchdog_url")? {
        let webhook = json!({"url_file": file, "send_resolved": false});
        add(&mut watchdog, "webhook_configs", webhook);
    }
    Ok(json!({
        "route": route(),
        "inhibit_rules": INHIBITIONS.map(inhibition),
        "receivers": [page, ticket, watchdog],
    }))
}

/// The routes of alerts and their times.
fn route() -> Value {
    let mut route = timed(&TICKET, None);
    let watchdog = format!("alertname=\"{WATCHDOG}\"");
    route["routes"] = json!([
        timed(&DEADMAN, Some(&watchdog)),
        timed(&PAGE, Some("severity=\"page\"")),
    ]);
    route
}

fn timed(route: &Route, matcher: Option<&str>) -> Value {
    let time = |seconds| match seconds {
        0 => "0s".to_owned(),
        seconds => Time::from_seconds(seconds).to_string(),
    };
    let mut shown = json!({
        "receiver": route.receiver,
        "group_by": route.group_by,
        "group_wait": time(route.group_wait),
        "group_interval": time(route.group_interval),
        "repeat_interval": time(route.repeat_interval),
    });
    if let Some(matcher) = matcher {
        shown["matchers"] = json!([matcher]);
    }
    shown
}

/// A page says what these tickets would repeat.
fn inhibition(of: Inhibition) -> Value {
    let with = |severity: &str| {
        let set = of.equal.iter().map(|name| format!("{name}!=\"\""));
        let severity = std::iter::once(format!("severity=\"{severity}\""));
        severity.chain(set).collect::<Vec<String>>()
    };
    let mut tickets = with("ticket");
    tickets.extend(of.slo.map(|slo| format!("slo=\"{slo}\"")));
    let equal = [&[ENVIRONMENT], of.equal].concat();
    json!({"source_matchers": with("page"), "target_matchers": tickets, "equal": equal})
}

/// The environment, and the service, route and problem of the first alert.
const TITLE: &str = "{{ with .CommonLabels.deployment_environment_name }}[{{ . }}] {{ end }}{{ .Status | toUpper }} {{ .CommonLabels.severity }}: {{ with index .Alerts 0 }}{{ .Annotations.summary }}{{ end }}{{ if gt (len .Alerts) 1 }} ({{ len .Alerts }} alerts){{ end }}";
const TEXT: &str = "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\ndashboard: {{ .Annotations.dashboard_url }}\nrunbook: {{ .Annotations.runbook_url }}\n{{ with .Annotations.release }}release: {{ . }}\n{{ end }}\n{{ end }}";

fn slack(file: &str) -> Value {
    json!({"api_url_file": file, "send_resolved": true, "title": TITLE, "text": TEXT})
}

fn pagerduty(file: &str) -> Value {
    json!({
        "routing_key_file": file,
        "send_resolved": true,
        "description": TITLE,
        "severity": "critical",
        "details": {"what": TEXT},
    })
}

fn email(secrets: &Secrets) -> Result<Option<Value>> {
    let parts = [
        "smtp_smarthost",
        "smtp_from",
        "smtp_to",
        "smtp_auth_username",
        "smtp_auth_password",
    ];
    let mut any = false;
    for part in parts {
        any |= secrets.text(part)?.is_some();
    }
    if !any {
        return Ok(None);
    }
    let mut email = json!({
        "smarthost": secrets.copied("smtp_smarthost", "a host and a port, such as mail.example:587", is_host_and_port)?,
        "from": secrets.copied("smtp_from", ADDRESSES, is_address)?,
        "to": secrets.copied("smtp_to", ADDRESSES, is_address)?,
        "send_resolved": true,
        "headers": {"Subject": TITLE},
        "text": TEXT,
        "html": "",
    });
    let user = secrets.text("smtp_auth_username")?;
    let password = secrets.file("smtp_auth_password")?;
    match (user, password) {
        (Some(user), Some(password)) => {
            if !is_plain(&user) || user.contains("{{") {
                bail!(
                    "{}: control characters and {{{{ are not allowed",
                    secrets.directory.join("smtp_auth_username").display()
                );
            }
            email["auth_username"] = user.into();
            email["auth_password_file"] = password.into();
        }
        (None, None) => {}
        _ => bail!(
            "{}: smtp_auth_username and smtp_auth_password belong together; one of them is missing",
            secrets.directory.display()
        ),
    }
    Ok(Some(email))
}

const ADDRESSES: &str = "e-mail addresses";

/// Text that YAML can hold: Alertmanager's parser refuses control characters even if they are quoted.
fn is_plain(text: &str) -> bool {
    let refused = |c: char| c.is_control() || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    !text.contains(refused)
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c) || bracketed && c == ':';
    !bare.is_empty() && bare.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// One address, or several with commas between them. Alertmanager treats addresses as templates, so template syntax is
/// refused.
fn is_address(text: &str) -> bool {
    text.split(',').all(|one| one.contains('@')) && !text.contains("{{")
}

fn receiver(name: &str) -> Value {
    json!({"name": name})
}

fn add(receiver: &mut Value, kind: &str, config: Value) {
    if let Value::Object(fields) = receiver
        && let Value::Array(list) = fields
            .entry(kind)
            .or_insert_with(|| Value::Array(Vec::new()))
    {
        list.push(config);
    }
}
