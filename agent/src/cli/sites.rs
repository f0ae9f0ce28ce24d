//! `landfall sites`: the nodes that are registered at a hub.

use std::io::Write;

use hyper::Method;
use serde_json::Value;

use super::arguments::{Arguments, Stop, Word};
use super::status::print_text;
use super::terminal::{Table, ago};
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{AdminReply, Client, RightsChange, SiteStatus, encoded};
use crate::clock;
use crate::coordinates::check_site;
use crate::quantity::{ByteSize, count_text};

pub(super) const HELP: &str = "\
List, revoke or split the sites of this hub

Usage: landfall sites --data HUB [OPTION…]
       landfall sites --data HUB revoke SITE
       landfall sites --data HUB split SITE [--name NEW]
       landfall sites --data HUB rights SITE [OPTION…]

revoke takes the site's rights and cuts its connections within seconds; what it brought stays.
split settles that a copy of a site lives on beside it, as a site of its own: it prints the token
that tells the copy so.
rights tells what a site may do, and changes what is named by an option; the site is called back.

Options:
  --data DIR       The hub's directory
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --name NEW       The copy's name; SITE-2 or the next that is free if left out
  --write TOPIC    A topic, or a pattern, that it may write; may be repeated
  --carry SITE     Another site, or a pattern, whose records it may bring; may be repeated
  --subscribe T    A topic, or a pattern, that it may have come down; may be repeated. `{site}`
                   stands for its name. Each of these replaces what was; `-` alone means none
  --json           Print one JSON object for machines
  --help           Show this
";

/// Options of `landfall sites`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SitesOptions {
    /// Which hub.
    pub node: DataOptions,
    /// What to do.
    pub action: SitesAction,
    /// Whether machines read it.
    pub json: bool,
}

/// What to do with sites.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SitesAction {
    /// Show them.
    List,
    /// Take one's rights.
    Revoke(String),
    /// Make two of one, the second under this name.
    Split(String, Option<String>),
    /// Tell or change what one may do.
    Rights(String, RightsChange),
}

impl SitesOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut words, mut json, mut new) = (Vec::new(), false, None);
        let mut change = RightsChange::default();
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--json" => json = true,
                Word::Option(name) if name == "--name" => new = Some(arguments.value(&name)?),
                Word::Option(name) => {
                    let list = match name.as_str() {
                        "--write" => &mut change.write,
                        "--carry" => &mut change.carry,
                        "--subscribe" => &mut change.subscribe,
                        _ => return Err(arguments.unknown(&Word::Option(name)).into()),
                    };
                    let list = list.get_or_insert_default();
                    list.extend(Some(arguments.value(&name)?).filter(|text| text != "-"));
                }
                Word::Plain(text) if words.len() < 2 => words.push(text),
                _ => return Err(arguments.unknown(&word).into()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let site = |site: &str| {
            check_site(site).map_err(|error| arguments.wrong(error.to_string()))?;
            Ok::<_, Stop>(site.to_owned())
        };
        let action = match words.as_slice() {
            [] => SitesAction::List,
            ["revoke", name] => SitesAction::Revoke(site(name)?),
            ["split", name] => {
                let new = new.take().map(|new| site(&new)).transpose()?;
                SitesAction::Split(site(name)?, new)
            }
            ["rights", name] => SitesAction::Rights(site(name)?, core::mem::take(&mut change)),
            [action @ ("revoke" | "split" | "rights")] => {
                return Err(arguments.wrong(format!("{action} which site?")).into());
            }
            _ => {
                let text = "say `revoke SITE`, `split SITE`, `rights SITE` or nothing";
                return Err(arguments.wrong(text).into());
            }
        };
        if !change.is_empty() {
            let text = "`--write`, `--carry` and `--subscribe` go with `rights SITE`";
            return Err(arguments.wrong(text).into());
        }
        if new.is_some() {
            return Err(arguments.wrong("`--name` goes with `split SITE`").into());
        }
        Ok(Command::Sites(Self { node: arguments.data()?, action, json }))
    }
}

/// Asks, and writes the answer to `out`.
///
/// # Errors
/// When there is no such site, nothing answers or `out` fails.
pub async fn run(
    options: &SitesOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let reply = match &options.action {
        SitesAction::List => client.admin(Method::GET, "/v1/sites", None).await?,
        SitesAction::Revoke(site) => {
            client.admin(Method::POST, &format!("/v1/sites/{}/revoke", encoded(site)), None).await?
        }
        SitesAction::Split(site, new) => {
            let new = new.as_ref().map(|new| format!("?name={}", encoded(new)));
            let path = format!("/v1/sites/{}/split{}", encoded(site), new.unwrap_or_default());
            client.admin(Method::POST, &path, None).await?
        }
        SitesAction::Rights(site, change) => {
            let path = format!("/v1/sites/{}/rights", encoded(site));
            let RightsChange { write, carry, subscribe } = change;
            let lists = [("write", write), ("carry", carry), ("subscribe", subscribe)];
            let told = lists.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?)));
            let body = told.map(|(name, list)| (name.to_owned(), list.as_slice().into())).collect();
            client.admin(Method::POST, &path, Some(&Value::Object(body))).await?
        }
    };
    let text = match reply {
        reply if options.json => serde_json::to_string(&reply).unwrap_or_default() + "\n",
        AdminReply::Sites(sites) if sites.is_empty() => {
            "no site is registered; `landfall token` lets one enrol\n".to_owned()
        }
        AdminReply::Sites(sites) => sites_table(&sites, clock::wall().ms()),
        AdminReply::Done { message } => message + "\n",
        AdminReply::Token(grant) => {
            eprintln!(
                "The copy goes on as {}. Stop it, and give its directory this token:\n  \
                 landfall init --data COPY --split --join TOKEN",
                grant.site
            );
            grant.token + "\n"
        }
    };
    print_text(out, &text)
}

/// The sites for people.
#[must_use]
pub fn sites_table(sites: &[SiteStatus], now_ms: i64) -> String {
    let heads = [
        "site",
        "state",
        "last contact",
        "version",
        ">behind",
        ">bytes",
        "oldest unsent",
        "full",
        "alarms",
    ];
    let mut table = Table::new(&heads);
    let time = |ms: Option<i64>| ms.map_or("-".to_owned(), |ms| ago(ms, now_ms));
    for site in sites {
        table.row([
            site.site.clone(),
            site.state.clone(),
            time(site.last_contact_ms),
            site.version.clone().unwrap_or_else(|| "-".to_owned()),
            site.behind_records.map_or("-".to_owned(), count_text),
            site.behind_bytes.map_or("-".to_owned(), |bytes| ByteSize(bytes).to_string()),
            time(site.oldest_unsent_ms),
            time(site.full_at_ms),
            site.alarms.join(", "),
        ]);
    }
    table.text()
}
