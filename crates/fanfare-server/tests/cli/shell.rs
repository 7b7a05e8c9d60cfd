//! Help, completions and manual pages.

use crate::assert_said;
use crate::said::run;
use crate::support::fanfare;
use std::process::{Command, Stdio};

#[test]
fn help_and_version() {
    assert_said!("help", run(fanfare(&["-h"]), ""));
    let version = run(fanfare(&["--version"]), "");
    assert_eq!(version.out, concat!("fanfare ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in
        ["serve", "publish", "subscribe", "stats", "clients", "disconnect", "bench", "log", "completions", "man"]
    {
        let said = run(fanfare(&[command, "--help"]), "");
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{command}");
        assert!(said.out.contains("Usage: fanfare"), "{command}");
        if !matches!(command, "serve" | "log") {
            assert!(said.out.contains("Examples:\n  fanfare"), "{command} has examples");
        }
    }
}

#[test]
fn shells_take_the_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = run(fanfare(&["completions", shell]), "");
        assert_eq!(said.code, 0);
        assert!(said.out.contains("publish") && said.out.contains("idempotency-key"), "{shell}");
    }
    let script = run(fanfare(&["completions", "bash"]), "").out;
    // What bash offers behind `fanfare pub`, with the script loaded.
    let ask = "COMP_WORDS=(fanfare pub); COMP_CWORD=1; _fanfare fanfare pub fanfare; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("{script}\n{ask}")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = run(bash, "");
    assert_eq!((said.out.as_str(), said.err.as_str()), ("publish\n", ""));
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let page = run(fanfare(&["man"]), "").out;
    assert!(page.contains(".TH fanfare 1") && page.replace('\\', "").contains("--data-dir"), "{page}");
    let page = run(fanfare(&["man", "publish"]), "").out;
    assert!(page.contains("idempotency\\-key") && page.contains("Examples"), "{page}");
    let directory = std::env::temp_dir().join(format!("fanfare-man-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let said = run(fanfare(&["man", "--directory", directory.to_str().unwrap()]), "");
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    for page in ["fanfare", "fanfare-publish", "fanfare-log-verify"] {
        assert!(directory.join(format!("{page}.1")).exists(), "{page}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
    let missing = run(fanfare(&["man", "--directory", directory.to_str().unwrap()]), "");
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains(directory.to_str().unwrap()), "{missing:?}");
}
