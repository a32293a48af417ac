//! The route table. Each route lists its possible statuses, so that every metric series exists from the start.
use std::time::Duration;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{Handler, HttpRequest, Responder, web};

use crate::error::ApiError;
use crate::extract::BODY_LIMIT;
use crate::{deadline, problem, upload};

/// Routes in the order of matching.
pub type Routes = Vec<Route>;

/// One route: method, pattern, handler, and its possible statuses.
pub struct Route {
    method: Method,
    pattern: &'static str,
    statuses: Vec<u16>,
    route: actix_web::Route,
}

impl Route {
    /// A `GET` route.
    pub fn get<F, Args>(pattern: &'static str, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: actix_web::FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Self::new(Method::GET, pattern, web::get().to(handler))
    }

    /// A `POST` route, which takes a JSON body.
    pub fn post<F, Args>(pattern: &'static str, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: actix_web::FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Self::new(Method::POST, pattern, web::post().to(handler)).answers(&[400, 408, 413, 422])
    }

    /// A `PUT` route of the private listener.
    pub(crate) fn put<F, Args>(pattern: &'static str, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: actix_web::FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Self::new(Method::PUT, pattern, web::put().to(handler))
    }

    /// A `DELETE` route of the private listener.
    pub(crate) fn delete<F, Args>(pattern: &'static str, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: actix_web::FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        Self::new(Method::DELETE, pattern, web::delete().to(handler))
    }

    fn new(method: Method, pattern: &'static str, route: actix_web::Route) -> Self {
        // Any route may fail, be unavailable or time out.
        Self {
            method,
            pattern,
            statuses: vec![500, 503, 504],
            route,
        }
    }

    /// The deadline inside, the wait for the body outside it.
    fn timed(self, limit: Duration) -> actix_web::Route {
        let route = self.route.wrap(from_fn(move |request, next| {
            deadline::enforce(limit, request, next)
        }));
        match self.method {
            Method::POST | Method::PUT => route.wrap(from_fn(move |request, next| {
                upload::receive(BODY_LIMIT, limit, request, next)
            })),
            _ => route,
        }
    }

    /// Adds the statuses that this route may answer, beside those that every such route may.
    pub fn answers(mut self, statuses: &[u16]) -> Self {
        self.statuses.extend(statuses);
        self.statuses.sort_unstable();
        self.statuses.dedup();
        self
    }
}

/// Makes the metric series of every route exist at zero.
pub(crate) fn declare(routes: &Routes) {
    for route in routes {
        telemetry::http_server::declare_route(
            route.method.as_str(),
            route.pattern,
            &route.statuses,
        );
    }
}

/// One resource per pattern, with its methods; other methods get 405. A request has `limit` to send its body, and the same
/// time again for its response.
pub(crate) fn resources(routes: Routes, limit: Duration) -> Vec<actix_web::Resource> {
    let mut patterns: Vec<(&'static str, Vec<Route>)> = Vec::new();
    for route in routes {
        match patterns
            .iter_mut()
            .find(|(pattern, _)| *pattern == route.pattern)
        {
            Some((_, same)) => same.push(route),
            None => patterns.push((route.pattern, vec![route])),
        }
    }
    patterns
        .into_iter()
        .map(|(pattern, routes)| resource(pattern, routes, limit))
        .collect()
}

fn resource(pattern: &'static str, routes: Vec<Route>, limit: Duration) -> actix_web::Resource {
    let allow = routes
        .iter()
        .map(|route| match route.method {
            Method::GET => "GET, HEAD",
            ref method => method.as_str(),
        })
        .collect::<Vec<_>>()
        .join(", ");
    let mut resource = web::resource(pattern);
    for route in routes {
        resource = resource.route(route.timed(limit));
    }
    resource.default_service(web::to(move || {
        let allow = allow.clone();
        async move { Err::<String, _>(ApiError::method_not_allowed(allow)) }
    }))
}

/// Answers what no route matches.
pub(crate) async fn not_found(_request: HttpRequest) -> Result<String, ApiError> {
    Err(ApiError::new(problem::NOT_FOUND, "no such route"))
}
