//! The requests of the probe, and the expected answers.

use api::client::PROBE_SKU;
use api::types::{Email, NewOrder, OrderStatus};
use api::{CallError, GatewayClient};
use telemetry::deadline::Deadline;

telemetry::label! {
    /// One request of users; `alerts/slo.toml` says which team gets the alert when it fails.
    pub(crate) enum Check {
        /// `GET /health`.
        Health = "gateway_health",
        /// `GET /api/data`: gateway, data, Postgres and downstream.
        Data = "gateway_data",
        /// `POST /api/orders`: an order that is paid and settled, and whose event is delivered.
        Order = "gateway_order",
    }
}

/// Why a check failed.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    /// The status of the response, if there was one.
    pub(crate) status: u16,
    pub(crate) problem: String,
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let status = match error {
            CallError::Status { status, .. } => status,
            _ => 0,
        };
        let problem = error.to_string();
        Self { status, problem }
    }
}

impl Check {
    /// Sends the request once; returns the status.
    pub(crate) async fn ask(
        self,
        gateway: &GatewayClient,
        deadline: Deadline,
    ) -> Result<u16, Failure> {
        match self {
            Self::Health => gateway.health(deadline).await?,
            Self::Data => drop(gateway.quoted_item(PROBE_SKU, deadline).await?),
            Self::Order => {
                let order = gateway.place_order(&order(), deadline).await?;
                settled(order.status)?;
                return Ok(201);
            }
        }
        Ok(200)
    }
}

fn order() -> NewOrder {
    NewOrder {
        sku: PROBE_SKU.to_owned(),
        quantity: 1,
        customer_email: Email::new("probe@example.com"),
    }
}

fn settled(status: OrderStatus) -> Result<(), Failure> {
    match status {
        OrderStatus::Confirmed => Ok(()),
        other => Err(Failure {
            status: 201,
            problem: format!("the order is {}, not confirmed", other.as_str()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_is_not_settled_is_a_failure() {
        assert_eq!(settled(OrderStatus::Confirmed), Ok(()));
        let failure = settled(OrderStatus::Pending).unwrap_err();
        assert_eq!(failure.problem, "the order is pending, not confirmed");
    }
}
