//! A herald and the webhook that it tells.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Herald, queued};
use crate::harness::Capture;

/// A webhook, and the settings that name it.
pub struct Case {
    state: tempfile::TempDir,
    pub webhook: Capture,
    pub url: String,
}

impl Case {
    pub fn new() -> Self {
        let webhook = Capture::answering(&json!({}));
        Self {
            state: tempfile::tempdir().unwrap(),
            url: webhook.url(),
            webhook,
        }
    }

    pub async fn herald(&self) -> Herald {
        Herald::start(self.path(), &[("HERALD_WEBHOOK_URL", &self.url)]).await
    }

    pub async fn killed(&self, mut herald: Herald) -> Herald {
        herald.kill().await;
        self.herald().await
    }

    pub fn path(&self) -> &Path {
        self.state.path()
    }

    pub fn queued(&self) -> Vec<PathBuf> {
        queued(self.path(), "queue", "webhook")
    }
}
