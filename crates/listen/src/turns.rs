//! Requests of one connection are answered one at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::{Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, apply_fn_factory};
use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use pin_project_lite::pin_project;

use crate::flow::{Flow, Turn};
use crate::gate::MAX_HEAD;

pin_project! {
    /// An answer that keeps its request's turn.
    pub struct TurnBody<B> {
        #[pin]
        body: B,
        turn: Turn,
    }
}

impl<B: MessageBody> MessageBody for TurnBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<actix_web::web::Bytes, Self::Error>>> {
        self.project().body.poll_next(cx)
    }
}

/// The application behind a [`crate::Gate`]: tells it when a response ends, and answers heads that are too large.
pub fn in_turn<A, S, B>(
    app: A,
) -> impl ServiceFactory<
    Request,
    Config = S::Config,
    Response = Response<EitherBody<TurnBody<B>>>,
    Error = S::Error,
    InitError = S::InitError,
    Service: Service<Request, Future: 'static>,
    Future: 'static,
> + 'static
where
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request> + 'static,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    apply_fn_factory(app, |request: Request, app: &S::Service| {
        let turn = Turn(request.conn_data::<Arc<Flow>>().cloned());
        let is_too_large = turn.0.as_ref().is_some_and(|flow| flow.is_too_large());
        let answer = (!is_too_large).then(|| app.call(request));
        async move {
            let Some(answer) = answer else {
                return Ok(too_large().map_body(|_, body| EitherBody::right(body)));
            };
            let response: Response<B> = answer.await?.into();
            Ok(response.map_body(|_, body| EitherBody::left(TurnBody { body, turn })))
        }
    })
}

fn too_large() -> Response<BoxBody> {
    let why = format!(
        "the head of the request is larger than {MAX_HEAD} bytes: send fewer or smaller headers, such as cookies\n"
    );
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let mut response = Response::with_body(status, BoxBody::new(why));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
