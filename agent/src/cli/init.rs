//! `landfall init`: makes a node.

use std::io::{Read, Write};

use super::{Exit, Failure, InitOptions, JoinToken};
use crate::config::Config;
use crate::coordinates::check_site;
use crate::daemon::{create, split};
use crate::identity::token::Token;

/// Makes the node, and writes to `out` what to do next.
///
/// # Errors
/// When there is one already, the token can't be used, or the directory can't be written.
pub fn run(options: &InitOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let token = options.join.as_ref().map(read_token).transpose()?;
    let site = site_name(options, token.as_ref().map(|(token, _)| token))?;
    let toml = settings(options, token.as_ref().map(|(token, _)| token));
    let text = token.as_ref().map(|(_, text)| text.as_str());
    if let (true, Some(text)) = (options.split, text) {
        return split_copy(options, &site, text, out);
    }
    let key = create(&options.data, &site, text, &toml)
        .map_err(|error| Failure::refused(format!("landfall init: {error}")))?;
    let data = options.data.display();
    let next = if token.is_some() {
        "It enrols at its hub when it first runs."
    } else if options.listen.is_some() {
        "It listens once it runs; `landfall token` then makes tokens for other nodes."
    } else {
        "It has no hub; write addresses and keys into [upstream], or make it anew with --join."
    };
    let printed = writeln!(
        out,
        "Made the node {site} in {data}.\nKey: {}\n{next}\nRun it: landfall run --data {data}",
        key.public()
    );
    printed.map_err(|error| Failure::refused(format!("landfall init: cannot print: {error}")))?;
    Ok(Exit::Done)
}

/// Makes the copy of a node a site of its own.
fn split_copy(
    options: &InitOptions,
    site: &str,
    token: &str,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let refused =
        |error: &dyn std::fmt::Display| Failure::refused(format!("landfall init: {error}"));
    let config = Config::load(None, &options.data, [])?;
    if let Some(told) = config.node.site.filter(|told| told != site) {
        let text = format!("landfall.toml says `site = \"{told}\"`; remove that line first");
        return Err(refused(&text));
    }
    let key = split(&options.data, site, token).map_err(|error| refused(&error))?;
    let data = options.data.display();
    let printed = writeln!(
        out,
        "The node in {data} is {site} from now on; what it holds stays.\nKey: {}\n\
         It enrols at its hub when it next runs.\nRun it: landfall run --data {data}",
        key.public()
    );
    printed.map_err(|error| refused(&error))?;
    Ok(Exit::Done)
}

fn read_token(from: &JoinToken) -> Result<(Token, String), Failure> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::usage(format!("landfall init: cannot read the token from {what}: {error}"))
    };
    let text = match from {
        JoinToken::Given(text) => text.clone(),
        JoinToken::Input => {
            let mut text = String::new();
            let read = std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| failed("standard input", error))?;
            text
        }
        JoinToken::File(path) => std::fs::read_to_string(path)
            .map_err(|error| failed(&path.display().to_string(), error))?,
    };
    let text = text.trim().to_owned();
    let token = text.parse::<Token>().map_err(|fault| {
        Failure::refused(format!(
            "landfall init: the token can't be used: {fault}; ask the hub's operator for a new one"
        ))
    })?;
    Ok((token, text))
}

/// More than any token takes.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// The name that was given, the only one that the token is for, or the host's.
fn site_name(options: &InitOptions, token: Option<&Token>) -> Result<String, Failure> {
    if let Some(site) = &options.site {
        return Ok(site.clone());
    }
    if let Some(site) = token.and_then(|token| token.site.site()) {
        return Ok(site.to_owned());
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    check_site(&host).map_err(|_| {
        let text = format!("landfall init: the host's name `{host}` can't name a site; use --site");
        Failure::usage(text)
    })?;
    Ok(host)
}

fn settings(options: &InitOptions, token: Option<&Token>) -> String {
    let quoted = |words: &[String]| {
        let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
        words.join(", ")
    };
    let mut toml = String::from("# Every key is described in docs/configuration.md.\n");
    if let Some(listen) = options.listen {
        toml.push_str(&format!("listen = \"{listen}\"\nprofile = \"hub\"\n"));
    }
    if !options.advertise.is_empty() {
        let addresses: Vec<_> = options.advertise.iter().map(ToString::to_string).collect();
        toml.push_str(&format!("advertise = [{}]\n", quoted(&addresses)));
    }
    if let Some(token) = token {
        let keys: Vec<_> = token.hub_keys.iter().map(ToString::to_string).collect();
        toml.push_str(&format!(
            "\n[upstream]\naddresses = [{}]\nkeys = [{}]\n",
            quoted(&token.addresses),
            quoted(&keys)
        ));
    }
    toml
}
