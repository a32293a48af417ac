//! Follows each link of a notification by API, to where a person would see data.

use anyhow::Result;
use gameday::{Hop, Notification};
use reqwest::Client;

use super::stack::GameStack;

/// The links of each firing notification of a group.
pub async fn follow(
    _client: &Client,
    _stack: &GameStack,
    _told: &[Notification],
) -> Result<Vec<Hop>> {
    Ok(Vec::new())
}
