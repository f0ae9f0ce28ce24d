//! `landfall token`: lets a site enrol at a hub.

use std::io::Write;
use std::time::Duration;

use hyper::Method;

use super::arguments::{Arguments, Stop, Word};
use super::status::print_text;
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{AdminReply, Client};
use crate::coordinates::check_site;
use crate::quantity::parse_duration;

pub(super) const HELP: &str = "\
Make a token that lets a site enrol at this hub

Usage: landfall token --data HUB SITE-OR-PATTERN [OPTION…]

Prints one line, to be given to `landfall init --join`. Whoever has it can enrol under that name, so
keep it out of sight. A pattern such as 'ship-*' lets any site of such a name enrol.

Options:
  --data DIR          The hub's directory
  --config FILE       Its configuration; landfall.toml in the directory if left out
  --uses N            How many sites may use it; 1 if left out
  --valid-for TIME    For how long, such as 30m, 24h or 7d; 7d if left out
  --write TOPIC       A topic, or a pattern such as 'engine-*', that it may write; may be repeated;
                      all but internal ones if left out
  --carry SITE        Another site, or a pattern, whose records it may bring, as a gateway does; may
                      be repeated; nobody's if left out
  --subscribe TOPIC   A topic, or a pattern, that it may have come down; `{site}` stands for its
                      name, as in 'commands.{site}'; may be repeated; none if left out
  --json              Print one JSON object for machines
  --help              Show this
";

/// Options of `landfall token`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenOptions {
    /// Which hub.
    pub node: DataOptions,
    /// The site, or pattern.
    pub site: String,
    /// How many may use it.
    pub uses: u32,
    /// For how long.
    pub valid_for: Option<Duration>,
    /// What it may write.
    pub write: Vec<String>,
    /// Whose records it may bring.
    pub carry: Vec<String>,
    /// What it may have come down.
    pub subscribe: Vec<String>,
    /// Whether machines read it.
    pub json: bool,
}

impl TokenOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut site, mut uses, mut valid_for, mut json) = (None, 1, None, false);
        let (mut write, mut carry, mut subscribe) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(word) = arguments.next()? {
            match &word {
                Word::Option(name) if name == "--uses" => uses = arguments.parsed(name)?,
                Word::Option(name) if name == "--valid-for" => {
                    let text = arguments.value(name)?;
                    let duration = parse_duration(&text).filter(|time| time.as_secs() > 0);
                    let wrong =
                        || arguments.wrong(format!("`{text}` is no time; write such as 24h"));
                    valid_for = Some(duration.ok_or_else(wrong)?);
                }
                Word::Option(name) if name == "--write" => write.push(arguments.value(name)?),
                Word::Option(name) if name == "--carry" => carry.push(arguments.value(name)?),
                Word::Option(name) if name == "--subscribe" => {
                    subscribe.push(arguments.value(name)?);
                }
                Word::Option(name) if name == "--json" => json = true,
                Word::Plain(text) if site.is_none() => {
                    check_site(&text.replace('*', "x"))
                        .map_err(|_| arguments.wrong(format!("`{text}` is no site or pattern")))?;
                    site = Some(text.clone());
                }
                _ => return Err(arguments.unknown(&word).into()),
            }
        }
        let site = site.ok_or_else(|| arguments.wrong("for which site?"))?;
        if uses == 0 {
            return Err(arguments.wrong("`--uses` must be at least 1").into());
        }
        let node = arguments.data()?;
        Ok(Command::Token(Self { node, site, uses, valid_for, write, carry, subscribe, json }))
    }
}

/// Asks for a token, and writes it to `out`.
///
/// # Errors
/// When the node is no hub, nothing answers or `out` fails.
pub async fn run(
    options: &TokenOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let mut body = serde_json::json!({
        "site": options.site,
        "uses": options.uses,
        "write": options.write,
        "carry": options.carry,
        "subscribe": options.subscribe,
    });
    if let Some(valid_for) = options.valid_for {
        body["valid_for_s"] = valid_for.as_secs().into();
    }
    match client.admin(Method::POST, "/v1/tokens", Some(&body)).await? {
        reply if options.json => {
            print_text(out, &(serde_json::to_string(&reply).unwrap_or_default() + "\n"))
        }
        AdminReply::Token(grant) => print_text(out, &(grant.token + "\n")),
        AdminReply::Sites(_) | AdminReply::Done { .. } => {
            Err(Failure::refused("the node answered another question"))
        }
    }
}
