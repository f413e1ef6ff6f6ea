//! Forms, questions, the help and the command line.

use super::*;

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
