//! What shells complete: commands, options, and files where an option takes one.

use super::manual::{Manual, Opt, Page};

/// For bash.
pub(super) fn bash(manual: &Manual) -> String {
    let commands = names(manual);
    let case = |page: &Page| {
        let options: Vec<_> = page.options.iter().map(|option| option.name.as_str()).collect();
        format!("        {}) words='{}' ;;\n", page.name, options.join(" "))
    };
    let cases: String = manual.commands.iter().map(case).collect();
    let paths = options_where(manual, Opt::takes_path).join(" | ");
    let values = options_where(manual, |option| !option.value.is_empty() && !option.takes_path());
    let values = values.join(" | ");
    format!(
        "# Completions of landfall for bash.\n\
         _landfall() {{\n\
         \x20   local word=\"${{COMP_WORDS[COMP_CWORD]}}\" words=\n\
         \x20   COMPREPLY=()\n\
         \x20   if [ \"$COMP_CWORD\" -eq 1 ]; then\n\
         \x20       COMPREPLY=($(compgen -W '{commands} --help --version' -- \"$word\"))\n\
         \x20       return\n\
         \x20   fi\n\
         \x20   case \"${{COMP_WORDS[COMP_CWORD-1]}}\" in\n\
         \x20       {paths}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n\
         \x20       {values}) return ;;\n\
         \x20   esac\n\
         \x20   case \"${{COMP_WORDS[1]}}\" in\n\
         {cases}\
         \x20   esac\n\
         \x20   case \"$word\" in\n\
         \x20       -*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;;\n\
         \x20       *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n\
         \x20   esac\n\
         }}\n\
         complete -o filenames -F _landfall landfall\n"
    )
}

/// For zsh.
pub(super) fn zsh(manual: &Manual) -> String {
    let command = |page: &Page| format!("        '{}:{}'\n", page.name, quoted(&page.about));
    let commands: String = manual.commands.iter().map(command).collect();
    let option = |option: &Opt| {
        let about = quoted(&option.about).replace('[', "(").replace(']', ")");
        let value = match (option.value.as_str(), option.takes_path()) {
            ("", _) => String::new(),
            (value, true) => format!(":{}:_files", quoted(value)),
            (value, false) => format!(":{}: ", quoted(value)),
        };
        // The colon would end what is said of the option.
        format!("'*{}[{}]{value}' ", option.name, about.replace(':', "\\:"))
    };
    let case = |page: &Page| {
        let options: String = page.options.iter().map(option).collect();
        format!("        {}) _arguments {options}'*:file:_files' ;;\n", page.name)
    };
    let cases: String = manual.commands.iter().map(case).collect();
    format!(
        "#compdef landfall\n# Completions of landfall for zsh.\nlocal -a commands=(\n{commands})\n\
         if (( CURRENT == 2 )); then\n    _describe command commands\nelse\n\
         \x20   local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n\
         \x20   case $command in\n{cases}    esac\nfi\n"
    )
}

/// For fish.
pub(super) fn fish(manual: &Manual) -> String {
    let mut text = String::from(
        "# Completions of landfall for fish.\n\
         complete -c landfall -n __fish_use_subcommand -l help -d 'Show help'\n\
         complete -c landfall -n __fish_use_subcommand -l version -d 'Show the version'\n",
    );
    for page in &manual.commands {
        let about = page.about.replace('\'', "\\'");
        let name = &page.name;
        text +=
            &format!("complete -c landfall -f -n __fish_use_subcommand -a {name} -d '{about}'\n");
        for option in &page.options {
            let about = option.about.replace('\\', "\\\\").replace('\'', "\\'");
            let value = match (option.value.is_empty(), option.takes_path()) {
                (true, _) => "",
                (false, true) => " -r -F",
                (false, false) => " -x",
            };
            let long = option.name.trim_start_matches('-');
            let seen = format!("'__fish_seen_subcommand_from {name}'");
            text += &format!("complete -c landfall -n {seen} -l {long}{value} -d '{about}'\n");
        }
    }
    text
}

fn names(manual: &Manual) -> String {
    manual.commands.iter().map(|page| page.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// The options of all commands that are so, each once.
fn options_where(manual: &Manual, is_so: impl Fn(&Opt) -> bool) -> Vec<&str> {
    let options = manual.commands.iter().flat_map(|page| &page.options);
    let mut names: Vec<_> =
        options.filter(|option| is_so(option)).map(|option| option.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Text within single quotes.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::manual::tests::small;
    use super::*;

    /// What bash offers for a line whose last word is not finished.
    fn offers(line: &[&str]) -> Vec<String> {
        let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let ask = format!(
            "{}\nCOMP_WORDS=({words}) COMP_CWORD={}\n_landfall\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            bash(&small()),
            line.len() - 1
        );
        let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn bash_offers_commands_options_and_files() {
        assert_eq!(offers(&["landfall", "r"]), ["read", "run"]);
        assert_eq!(offers(&["landfall", "read", "--m"]), ["--min-position"]);
        assert_eq!(offers(&["landfall", "run", "--"]), ["--config"]);
        assert_eq!(offers(&["landfall", "read", "--data", "/et"]), ["/etc"]);
        assert_eq!(offers(&["landfall", "read", "--min-position", ""]), [""; 0]);
    }

    #[test]
    fn what_is_said_of_an_option_stays_within_its_quotes() {
        let mut manual = small();
        manual.commands[0].options[0].about = "A node's [own]: directory".to_owned();
        assert!(zsh(&manual).contains("'*--data[A node'\\''s (own)\\: directory]:DIR:_files' "));
        assert!(fish(&manual).contains(" -l data -r -F -d 'A node\\'s [own]: directory'\n"));
    }
}
