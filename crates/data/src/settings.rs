//! Settings of the data service.

use std::str::FromStr;
use std::time::Duration;

use crate::release::BadRelease;
use api::client::PROBE_SKU;
use api::validation::is_sku;
use service::settings::wrong;
use service::{Defaults, Env, SettingError};
use sqlx::postgres::PgConnectOptions;

/// What can be ordered when `OMNITRACE_SEED_ITEMS` does not say: `sku:stock:price_cents`.
const DEFAULT_ITEMS: &str = "omni-mug:1000000:1290,omni-shirt:1000000:2490,omni-sticker:1000000:190,omni-hoodie:1000000:4990";

/// Everything that the service reads from the environment.
#[derive(Debug)]
pub struct Settings {
    /// What every service has.
    pub service: service::Settings,
    /// Settings that only this service has.
    pub(crate) own: DataSettings,
}

/// The data service's own settings.
#[derive(Debug)]
pub(crate) struct DataSettings {
    /// `DATABASE_URL`; only the schema `omnitrace` in it is touched.
    pub(crate) database: PgConnectOptions,
    /// `DOWNSTREAM_URL`.
    pub(crate) downstream_url: String,
    /// `OMNITRACE_POOL_SIZE` \[10\]: connections for requests; five more serve the background tasks, and one listens.
    pub(crate) pool_size: usize,
    /// `OMNITRACE_SWEEP_AFTER_MS` \[5000\]: how old a pending order is when the sweeper takes it up.
    pub(crate) sweep_after: Duration,
    /// `OMNITRACE_BAD_RELEASE`: set by the fault `bad_release` for the process that this one starts.
    pub(crate) bad_release: Option<BadRelease>,
    /// `OMNITRACE_SEED_ITEMS`: items that are added at start unless they exist.
    pub(crate) items: Vec<SeedItem>,
}

/// An item to be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeedItem {
    pub(crate) sku: String,
    pub(crate) stock: i64,
    pub(crate) unit_price_cents: i64,
}

impl Settings {
    /// Reads the environment; `build` is the `service.version`, unless that says otherwise.
    pub fn from_env(env: &Env, build: &'static str) -> Result<Self, SettingError> {
        let defaults = Defaults {
            name: "data",
            version: build,
            http_port: 8081,
            admin_port: 9081,
            public: false,
        };
        let mut service = service::Settings::from_env(env, &defaults)?;
        let bad_release = BadRelease::from_env(env)?;
        if let Some(release) = &bad_release {
            service.set_version(release.version.clone());
        }
        let own = DataSettings {
            bad_release,
            database: database(env)?,
            downstream_url: env.base_url("DOWNSTREAM_URL", "http://127.0.0.1:8082")?,
            pool_size: env.number("OMNITRACE_POOL_SIZE", 10, 1..=500)?,
            sweep_after: env.millis("OMNITRACE_SWEEP_AFTER_MS", 5000, 100..=3_600_000)?,
            items: items(env)?,
        };
        Ok(Self { service, own })
    }
}

const DATABASE_URL: &str = "DATABASE_URL";
const DATABASE_EXAMPLE: &str = "postgres://user:password@host:5432/database";

fn database(env: &Env) -> Result<PgConnectOptions, SettingError> {
    database_at(&env.required(DATABASE_URL, &format!("set it to {DATABASE_EXAMPLE}"))?)
}

/// The value holds a password: it is not repeated.
pub(crate) fn database_at(url: &str) -> Result<PgConnectOptions, SettingError> {
    let problem = || {
        wrong(
            DATABASE_URL,
            format!(
                "cannot be read; allowed: {DATABASE_EXAMPLE} (special characters percent-encoded)"
            ),
        )
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(problem());
    }
    PgConnectOptions::from_str(url).map_err(|_| problem())
}

fn items(env: &Env) -> Result<Vec<SeedItem>, SettingError> {
    const NAME: &str = "OMNITRACE_SEED_ITEMS";
    let text = env.text(NAME)?.unwrap_or_else(|| DEFAULT_ITEMS.to_owned());
    text.split(',')
        .map(|item| {
            seed_item(item.trim()).ok_or_else(|| {
                wrong(
                    NAME,
                    format!(
                        "got {item:?}; allowed: sku:stock:price_cents, several separated by commas; {PROBE_SKU} is the probe's"
                    ),
                )
            })
        })
        .collect()
}

fn seed_item(text: &str) -> Option<SeedItem> {
    let mut parts = text.split(':');
    let is_free = |sku: &&str| is_sku(sku) && *sku != PROBE_SKU;
    let sku = parts.next().filter(is_free)?.to_owned();
    let mut number = || {
        parts
            .next()?
            .parse()
            .ok()
            .filter(|number| (0..=1_000_000_000_000).contains(number))
    };
    let (stock, unit_price_cents) = (number()?, number()?);
    parts.next().is_none().then_some(SeedItem {
        sku,
        stock,
        unit_price_cents,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<const N: usize>(pairs: [(&'static str, &'static str); N]) -> String {
        Settings::from_env(&Env::of(pairs), "1")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_database_is_required_and_its_password_not_repeated() {
        assert!(problem([]).starts_with("DATABASE_URL: is not set; set it to postgres://"));
        for url in [
            "mysql://me:hunter2@host/db",
            "postgres://me:hunter2@host:port/db",
        ] {
            let error = problem([("DATABASE_URL", url)]);
            assert!(
                error.starts_with("DATABASE_URL: cannot be read") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn items_are_sku_stock_price() {
        let read = |text| items(&Env::of([("OMNITRACE_SEED_ITEMS", text)]));
        let item = |sku: &str, stock, unit_price_cents| SeedItem {
            sku: sku.to_owned(),
            stock,
            unit_price_cents,
        };
        assert_eq!(
            read("a:5:100, b:0:1").unwrap(),
            [item("a", 5, 100), item("b", 0, 1)]
        );
        assert!(read("").unwrap().len() >= 3);
        for bad in ["a", "a:5", "a:-1:100", "a b:1:1", "a:1:1:1", "a:1:1,"] {
            assert!(
                read(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("sku:stock:price_cents"),
                "{bad}"
            );
        }
    }
}
