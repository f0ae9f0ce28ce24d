//! Paths and parameters to calls of the node.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::watch;

use super::append::{AppendOptions, Appending};
use super::application::{Applications, Caller};
use super::backend::{AdminCommand, AdminReply, Backend, ProducerName, TokenWanted};
use super::body::{Pieces, pieces};
use super::error::{ApiError, ErrorCode, PROBLEM_TYPE};
use super::limits::{HEALTH_TIMEOUT, JSON_BODY_BYTES_MAX};
use super::metrics::{METRICS_TYPE, metrics};
use super::trace::trace;
use super::verdict::ViewAtRequest;
use crate::coordinates::{NotCoordinates, check_site, check_topic};
use crate::event_json::LineShape;

mod consumer;
mod group;
mod parameters;
mod query;
mod read;

use parameters::{Parameters, decoded};

/// What the API is, for machines.
const OPENAPI: &str = include_str!("openapi.json");

/// A body of any kind.
pub(super) type ReplyBody = BoxBody<Bytes, Infallible>;

/// What all requests to a node share.
#[derive(Clone)]
pub(super) struct Router<N> {
    pub(super) backend: N,
    pub(super) applications: Arc<Applications>,
    pub(super) record_bytes_max: usize,
    pub(super) stop: watch::Receiver<bool>,
}

impl<N: Backend> Router<N> {
    /// Answers a request; a refusal is an answer too.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
    ) -> Response<ReplyBody> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = self.route(request, caller).await;
        answer.unwrap_or_else(|error| {
            tracing::debug!(%method, path, code = ?error.code, message = error.message, "refused");
            refusal(&error)
        })
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        caller: &Caller,
    ) -> Result<Response<ReplyBody>, ApiError> {
        let path = request.uri().path().to_owned();
        let parts: Vec<Cow<'_, str>> =
            path.trim_matches('/').split('/').map(decoded).collect::<Result<_, _>>()?;
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        let method = request.method().clone();
        if let ["v1", "sites" | "tokens", ..] = parts.as_slice() {
            caller.may_operate()?;
        }
        match parts.as_slice() {
            ["v1", "topics", topic, "records"] if method == Method::POST => {
                self.applications.may_write(caller, topic)?;
                self.append(topic, request).await
            }
            ["v1", "topics", topic, "records"] if method == Method::GET => {
                self.read(topic, &request).await
            }
            ["v1", "groups"] if method == Method::POST => self.group(request, caller).await,
            ["v1", "consumers", path @ ..] => self.consumers(path, request).await,
            ["v1", "status"] if method == Method::GET => {
                Ok(json(StatusCode::OK, &self.backend.status().await?))
            }
            ["v1", "health"] if method == Method::GET => self.health().await,
            ["v1", "metrics"] if method == Method::GET => {
                let text = metrics(&self.backend.status().await?);
                Ok(with_type(StatusCode::OK, METRICS_TYPE, Full::new(Bytes::from(text)).boxed()))
            }
            ["v1", "openapi.json"] if method == Method::GET => {
                let text = Full::new(Bytes::from_static(OPENAPI.as_bytes())).boxed();
                Ok(with_type(StatusCode::OK, "application/json", text))
            }
            ["v1", "views"] if method == Method::GET => self.views().await,
            ["v1", "sites", path @ ..] => self.sites(path, request).await,
            ["v1", "tokens"] if method == Method::POST => {
                self.admin(token_command(request).await?).await
            }
            ["v1", "query"] if method == Method::POST => self.query(request).await,
            ["v1", "views", view, "verify"] if method == Method::POST => {
                Ok(json(StatusCode::OK, &self.backend.verify_view((*view).to_owned()).await?))
            }
            ["v1", "trace"] if method == Method::GET => self.trace(&request).await,
            ["v1", "views", view, "at"] if method == Method::POST => {
                self.view_at(view, request).await
            }
            ["v1", "topics", _, "records"] => Err(wrong_method(&method, "GET, POST")),
            ["v1", "status" | "trace" | "health" | "metrics" | "openapi.json" | "views"] => {
                Err(wrong_method(&method, "GET"))
            }
            ["v1", "tokens" | "query" | "groups"] | ["v1", "views", _, "verify" | "at"] => {
                Err(wrong_method(&method, "POST"))
            }
            _ => Err(no_path(&path)),
        }
    }

    async fn sites(
        &self,
        path: &[&str],
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, ApiError> {
        let method = request.method().clone();
        let command = match path {
            [] if method == Method::GET => AdminCommand::Sites,
            [] => return Err(wrong_method(&method, "GET")),
            [_, "revoke" | "split" | "rights"] if method != Method::POST => {
                return Err(wrong_method(&method, "POST"));
            }
            [site, "revoke"] => AdminCommand::Revoke { site: site_name(site)? },
            [site, "split"] => {
                let mut query = Parameters::of(request.uri().query(), &["name"])?;
                let name = query.text("name").map(|name| site_name(&name)).transpose()?;
                AdminCommand::Split { site: site_name(site)?, name }
            }
            [site, "rights"] => {
                let site = site_name(site)?;
                let change = json_body(request, "a change of rights").await?;
                AdminCommand::Rights { site, change }
            }
            _ => return Err(no_path(request.uri().path())),
        };
        self.admin(command).await
    }

    async fn trace(&self, request: &Request<Incoming>) -> Result<Response<ReplyBody>, ApiError> {
        let mut query = Parameters::of(request.uri().query(), &["record"])?;
        let record = query.text("record").ok_or_else(|| bad("trace which `record`?"))?;
        let record = record.parse().map_err(|error: NotCoordinates| bad(error.to_string()))?;
        Ok(json(StatusCode::OK, &trace(&self.backend, &record).await?))
    }

    async fn views(&self) -> Result<Response<ReplyBody>, ApiError> {
        let views = self.backend.status().await?.views;
        Ok(json(StatusCode::OK, &serde_json::json!({ "views": views })))
    }

    async fn view_at(
        &self,
        view: &str,
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, ApiError> {
        let wanted: ViewAtRequest = json_body(request, "a look into the past").await?;
        query::check_limits(wanted.rows_max, wanted.time_max_ms)?;
        Ok(json(StatusCode::OK, &self.backend.view_at(view.to_owned(), wanted).await?))
    }

    async fn append(
        &self,
        topic: &str,
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, ApiError> {
        let options = append_options(topic, request.uri().query(), self.record_bytes_max)?;
        let mut appending = Appending::new(self.backend.clone(), request.into_body(), options);
        let mut line = match appending.next().await {
            Some(Err(error)) => {
                tokio::spawn(appending.drain());
                return Err(error);
            }
            Some(Ok(receipt)) => Some(receipt),
            None => None,
        };
        let (sender, body) = pieces();
        tokio::spawn(async move {
            loop {
                let done = line.is_none();
                let text = match &line {
                    Some(receipt) => json_text(receipt),
                    None => named("done", &appending.done()),
                };
                if sender.send(Bytes::from(format!("{text}\n"))).await.is_err() || done {
                    return;
                }
                line = match appending.next().await {
                    Some(Ok(receipt)) => Some(receipt),
                    None => None,
                    Some(Err(error)) => {
                        // If the client is gone, nobody is left to tell.
                        let text = format!("{}\n", error.to_line());
                        let _ = sender.send(Bytes::from(text)).await;
                        drop(sender);
                        return appending.drain().await;
                    }
                };
            }
        });
        Ok(stream("application/x-ndjson", body))
    }

    /// Whether the node's thread answers in time; it is what syncs, reads and tells.
    async fn health(&self) -> Result<Response<ReplyBody>, ApiError> {
        match tokio::time::timeout(HEALTH_TIMEOUT, self.backend.status()).await {
            Ok(status) => Ok(json(
                StatusCode::OK,
                &serde_json::json!({ "healthy": true, "alarms": status?.alarms.len() }),
            )),
            Err(_) => {
                let text = format!("the node did not answer within {} s", HEALTH_TIMEOUT.as_secs());
                let hint = "its disk may be slow or failing; its log says more";
                Err(ApiError::new(ErrorCode::Busy, text).with_hint(hint))
            }
        }
    }

    async fn admin(&self, command: AdminCommand) -> Result<Response<ReplyBody>, ApiError> {
        let reply = self.backend.admin(command).await?;
        let status = match reply {
            AdminReply::Token(_) => StatusCode::CREATED,
            AdminReply::Sites(_) | AdminReply::Done { .. } => StatusCode::OK,
        };
        Ok(json(status, &reply))
    }
}

const APPEND_PARAMETERS: [&str; 7] =
    ["first_sequence", "key_field", "lines", "partition", "producer", "skip_bad", "time_field"];

fn append_options(
    topic: &str,
    query: Option<&str>,
    record_bytes_max: usize,
) -> Result<AppendOptions, ApiError> {
    let mut query = Parameters::of(query, &APPEND_PARAMETERS)?;
    check_topic(topic).map_err(|error| bad(error.to_string()))?;
    if topic.starts_with('_') {
        let message = format!("topic `{topic}` belongs to the node; names with `_` first do");
        return Err(ApiError::new(ErrorCode::Forbidden, message).with_hint("use another name"));
    }
    let first_sequence = query.number("first_sequence")?;
    let producer = match (query.text("producer"), first_sequence) {
        (Some(name), first) => {
            check_site(&name).map_err(|_| {
                bad(format!("`{name}` cannot be a producer: use letters, digits, `.`, `_`, `-`"))
            })?;
            Some(ProducerName { name, first_sequence: first.unwrap_or(1) })
        }
        (None, Some(_)) => return Err(bad("`first_sequence` is of no use without `producer`")),
        (None, None) => None,
    };
    Ok(AppendOptions {
        topic: topic.to_owned(),
        partition: query.partition()?,
        producer,
        shape: line_shape(&mut query)?,
        skip_bad: query.flag("skip_bad")?,
        record_bytes_max,
    })
}

fn line_shape(query: &mut Parameters) -> Result<LineShape, ApiError> {
    let whole = match query.text("lines").as_deref() {
        None | Some("values") => false,
        Some("records") => true,
        Some(other) => {
            return Err(bad(format!("`lines` must be `values` or `records`, not `{other}`")));
        }
    };
    let (key_field, time_field) = (query.text("key_field"), query.text("time_field"));
    if whole && (key_field.is_some() || time_field.is_some()) {
        let text = "`key_field` and `time_field` are of no use with `lines=records`";
        return Err(bad(text).with_hint("a record has its own `key` and `timestamp`"));
    }
    Ok(LineShape { key_field, time_field, whole })
}

/// The body of `POST /v1/tokens`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    site: String,
    uses: Option<u32>,
    valid_for_s: Option<u64>,
    #[serde(default)]
    write: Vec<String>,
    #[serde(default)]
    carry: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
}

/// A week: long enough to carry a token to a ship, short enough to forget one.
const TOKEN_VALID_FOR_S: u64 = 7 * 86_400;

/// A body that may have so many bytes.
async fn whole_body(request: Request<Incoming>, bytes_max: usize) -> Result<Bytes, ApiError> {
    let body = Limited::new(request.into_body(), bytes_max).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|_| {
        let message = format!("the body is longer than {bytes_max} bytes, or cut off");
        ApiError::new(ErrorCode::TooLarge, message)
    })
}

/// A body that is one JSON object with what `what` needs.
async fn json_body<T: serde::de::DeserializeOwned>(
    request: Request<Incoming>,
    what: &str,
) -> Result<T, ApiError> {
    let body = whole_body(request, JSON_BODY_BYTES_MAX).await?;
    serde_json::from_slice(&body)
        .map_err(|error| bad(format!("the body is not what {what} needs: {error}")))
}

async fn token_command(request: Request<Incoming>) -> Result<AdminCommand, ApiError> {
    let body: TokenBody = json_body(request, "a token").await?;
    let uses = body.uses.unwrap_or(1);
    if uses == 0 {
        return Err(bad("`uses` must be at least 1"));
    }
    let valid_for = Duration::from_secs(body.valid_for_s.unwrap_or(TOKEN_VALID_FOR_S));
    let name = body.site.replace('*', "x");
    check_site(&name).map_err(|error| bad(error.to_string()))?;
    let TokenBody { site, write, carry, subscribe, .. } = body;
    let wanted = TokenWanted { site, uses, valid_for, write, carry, subscribe };
    Ok(AdminCommand::CreateToken(wanted))
}

fn site_name(site: &str) -> Result<String, ApiError> {
    check_site(site).map_err(|error| bad(error.to_string()))?;
    Ok(site.to_owned())
}

fn no_path(path: &str) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no `{path}`"))
        .with_hint("/v1/openapi.json lists all paths")
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message)
}

fn wrong_method(method: &Method, allowed: &str) -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed, format!("{method} is not possible here"))
        .with_hint(format!("use {allowed}"))
}

/// The answer that refuses.
pub(super) fn refusal(error: &ApiError) -> Response<ReplyBody> {
    let body = Full::new(Bytes::from(format!("{}\n", error.to_json()))).boxed();
    let mut response = with_type(error.code.status(), PROBLEM_TYPE, body);
    let allowed = error.hint.as_deref().and_then(|hint| hint.strip_prefix("use "));
    if let (ErrorCode::MethodNotAllowed, Some(Ok(value))) =
        (error.code, allowed.map(HeaderValue::from_str))
    {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<ReplyBody> {
    let text = json_text(value) + "\n";
    with_type(status, "application/json", Full::new(Bytes::from(text)).boxed())
}

/// `{"name":value}`: the lines of an answer that are no records.
pub(super) fn named(name: &str, value: &impl serde::Serialize) -> String {
    format!("{{\"{name}\":{}}}", json_text(value))
}

pub(super) fn json_text(value: &impl serde::Serialize) -> String {
    // The types of the API have text keys only, so that this cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn stream(kind: &'static str, body: Pieces) -> Response<ReplyBody> {
    with_type(StatusCode::OK, kind, body.boxed())
}

fn with_type(status: StatusCode, kind: &'static str, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
