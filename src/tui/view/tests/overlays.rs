//! Forms, questions, the help and the command line.

use super::*;
use crate::protocol::admin::Preview;
use crate::tui::input::show_effect;
use crate::tui::state::Effect;

/// Returns the effect of the last key.
fn type_keys(console: &mut Console, keys: &str) -> Option<Effect> {
    keys.chars().fold(None, |_, key| {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        press(console, code.into())
    })
}

#[test]
fn overlays() {
    let shown = ["!bzed", "?", "?sort", "c", "e", ":thr", "2!t2%\n\n"].map(|keys| {
        let mut console = fed(samples::throttled);
        let asked = type_keys(&mut console, keys);
        let effect = "Show 2% of stream 7 instead of 10%: 17k viewers see 468/s instead of \
                      2.3k/s. History keeps all. It stays until it is set to auto.";
        if let Some(Effect::Preview(asked)) = asked {
            let preview = Preview { effect: effect.to_owned(), ..Preview::default() };
            show_effect(&mut console, &asked, Ok(preview));
        }
        screen(&console, SIZES[1])
    });
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_question_is_open_before_its_effect_is_known() {
    let mut console = fed(samples::throttled);
    let Some(Effect::Preview(asked)) = type_keys(&mut console, "!:kick zed\n") else { panic!() };
    let computing = screen(&console, SIZES[1]);
    assert!(computing.contains("kick zed") && computing.contains("computing…"), "{computing}");
    assert!(!computing.contains("does it") && !computing.contains("do it"), "{computing}");
    let mut failed = fed(samples::throttled);
    type_keys(&mut failed, "!:kick zed\n");
    show_effect(&mut failed, &asked, Err("the registry does not answer".to_owned()));
    let failed = screen(&failed, SIZES[1]);
    assert!(failed.contains("✗ its effect is not known: the registry does"), "{failed}");
    assert!(failed.contains("Enter does it all the same"), "{failed}");
    let effect = "Kick zed (user 42): 2 connections on edge-1.".to_owned();
    show_effect(&mut console, &asked, Ok(Preview { effect, ..Preview::default() }));
    let shown = screen(&console, SIZES[1]);
    assert!(
        shown.contains("2 connections on edge-1") && shown.contains("Enter does it"),
        "{shown}"
    );
    assert!(!shown.contains("computing"), "{shown}");
}

#[test]
fn the_help_can_be_scrolled() {
    let mut console = fed(samples::healthy);
    press(&mut console, KeyCode::Char('?').into());
    assert!(screen(&console, SIZES[1]).contains(" more"));
    for _ in 0..10 {
        press(&mut console, KeyCode::PageDown.into());
    }
    let shown = screen(&console, SIZES[1]);
    assert!(shown.contains("back to the shell"), "{shown}");
    press(&mut console, KeyCode::Home.into());
    assert!(screen(&console, SIZES[1]).contains("what is wrong, and the pipeline"));
}
