use super::*;
use proptest::prelude::*;

fn first_forbidden(allowed: &[&str], text: &str) -> Option<String> {
    let allowed: Vec<String> = allowed.iter().map(|host| (*host).to_owned()).collect();
    AllowedHosts::new(&allowed).first_forbidden(text)
}

#[test]
fn links_are_found_in_every_spelling() {
    let links = [
        ("http://example.com", "example.com"),
        ("see https://example.com/a?b=c#d now", "example.com"),
        ("HTTP://EXAMPLE.COM", "example.com"),
        ("hxxp://example.com", "example.com"),
        ("hxxps://example[.]com/x", "example.com"),
        ("example[.]com", "example.com"),
        ("example(.)com", "example.com"),
        ("example [dot] com", "example.com"),
        ("example(dot)com", "example.com"),
        ("example dot com", "example.com"),
        ("Example DOT Com!", "example.com"),
        ("go to example . com", "example.com"),
        ("example.com", "example.com"),
        ("(example.com)", "example.com"),
        ("try example.com, it is good", "example.com"),
        ("example.com.", "example.com"),
        ("\"example.com\"", "example.com"),
        ("a.b.example.co.uk", "a.b.example.co.uk"),
        ("www.example.whatever", "www.example.whatever"),
        ("t.me/spam", "t.me"),
        ("bit.ly/2xyz", "bit.ly"),
        ("discord.gg/abc", "discord.gg"),
        ("youtu.be/abc", "youtu.be"),
        ("http://user:pw@example.com:8080/", "example.com"),
        ("http://10.0.0.1/x", "10.0.0.1"),
        ("10.0.0.1:8080", "10.0.0.1"),
        ("http://localhost:3000", "localhost"),
        ("ftp://files.example.org", "files.example.org"),
        ("exam\u{200b}ple.c\u{200d}om", "example.com"),
        ("example [d\u{12}ot] com", "example.com"),
        ("ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"),
        ("example。com", "example.com"),
        ("example․com", "example.com"),
        ("пример.рф", "пример.рф"),
        ("example.соm", "example.соm"),
        ("clickhttp://example.com", "example.com"),
        ("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai"),
        // whatever stands around them
        ("evil.net [dot] zzz", "evil.net"),
        ("evil.net[.]zzz", "evil.net"),
        ("https://evil.net,hello", "evil.net,hello"),
        ("https://evil.net)x", "evil.net)x"),
        ("join👉evil.net", "evil.net"),
        ("//evil.net/x", "evil.net"),
        ("discord:discord.gg/abc", "discord.gg"),
        ("*evil.net*", "evil.net"),
        ("_evil.net_", "evil.net"),
        ("hi...evil.net", "evil.net"),
        ("discord .gg/abc", "discord.gg"),
        ("加入evil.net/x", "加入evil.net"),
        ("evil.netに来て", "evil.net"),
        ("a|evil.net|b", "evil.net"),
        ("evil.net:80", "evil.net"),
        ("me@evil.net/x", "evil.net"),
        // as browsers read them
        ("https:/evil.net", "evil.net"),
        ("https:\\\\evil.net", "evil.net"),
        ("https:////evil.net", "evil.net"),
        ("https://ev%69l.net", "evil.net"),
        ("https://0x7f.1/", "127.0.0.1"),
        ("https://example.com@evil.net", "evil.net"),
        ("https://[::1]/x", "[::1]"),
        ("https:⁄⁄evil.net", "evil.net"),
        ("tg://resolve?domain=spam", "resolve"),
        // every ending of the public suffix list
        ("evil.uno/x", "evil.uno"),
        ("forms.gle/abc", "forms.gle"),
        ("evil.webcam", "evil.webcam"),
        ("evil.co.uk", "evil.co.uk"),
        ("evil.com.ck", "evil.com.ck"),
        ("evil.онлайн", "evil.онлайн"),
        ("bestcasino.live now", "bestcasino.live"),
        ("evil.love", "evil.love"),
        ("lol.love/x", "lol.love"),
        ("evil.onion", "evil.onion"),
        ("spammer dot webcam", "spammer.webcam"),
        ("evil  dot  com", "evil.com"),
    ];
    for (text, host) in links {
        assert_eq!(first_forbidden(&[], text).as_deref(), Some(host), "{text}");
    }
}

#[test]
fn text_that_resembles_a_link_passes() {
    let innocent = [
        "",
        "hello",
        "ok.so then",
        "yes.it is",
        "e.g. this",
        "i.e.",
        "v1.2.3",
        "1.2.3.4",
        "3.14",
        "10:30",
        "main.rs",
        "node.js",
        "readme.md",
        "setup.py",
        "script.sh",
        "wait...what",
        "u.s.a.",
        "bob@example.com",
        "dot",
        "connect the dots",
        "the dot com bubble",
        "...",
        "polka dot dress",
        "a:b",
        "score 3:2",
        ":)",
        "c:/temp",
        "and/or",
        "w.w.w",
        "lol.no",
        "http",
        "://",
        "http://",
        "end.Start",
        "p.s. hi",
        "Mr.Smith",
        "file.tar.gz",
        "привет.как",
        "lol.love this",
        "yes.game on",
        "ok.today we win",
        "gg.next",
        "nice.one more",
        "wow.cool",
        "that was great.now go",
        "see you at 8.today",
        "mr.green",
        "@user.name hi",
        "first.last@example.com",
        "file:///etc/hosts",
        "so... is it",
        "50.000",
        "12:30",
        "re: hello",
    ];
    for text in innocent {
        assert_eq!(first_forbidden(&[], text), None, "{text}");
    }
}

#[test]
fn allowed_hosts_allow_only_their_subdomains() {
    let allowed = ["example.com", "*.Clips.example.org", ""];
    for text in [
        "https://example.com/x",
        "www.example.com",
        "a.b.example.com",
        "example dot com",
        "x.clips.example.org",
        "clips.example.org/1 and example.com",
        "https://example.com, and more",
        "(https://example.com)",
        "https://example.com/a.b/c.net?u=https://evil.net/x",
        "https://example.com:8080/@user.name",
        "https://EXAMPLE.com.",
        "https://example.com./a",
        "https://ann:pw@example.com.:8080/",
        "👉example.com/x",
        "hxxps://example[.]com/x",
        "example [dot] com",
        "https://example.com/a/evil.net [/]",
    ] {
        assert_eq!(first_forbidden(&allowed, text), None, "{text}");
    }
    for text in [
        "notexample.com",
        "example.com.evil.net",
        "http://example.com@evil.net",
        "example.org",
        "ехample.com",
        "example.com evil.net",
        "http://evil.net/example.com",
        "https://example.com,https://evil.net",
        "https://example.com,evil.net",
        "https://example.com,@evil.net",
        "https://example.com/x,https://evil.net",
        "https://example.com/x👉evil.net",
        "https://example.com:80@evil.net",
        "example.com/x,evil.net",
        "加入example.com",
        "evil[.]net [dot] example.com",
        "http://localhost [dot] example.com",
        "https://1.2.3.4 (dot) example.com",
        "https://lol.love [dot] example.com",
        "https://evil.net[.]example.com",
    ] {
        assert!(first_forbidden(&allowed, text).is_some(), "{text}");
    }
}

/// Text around an address, none of which hides it.
fn around() -> impl Strategy<Value = String> {
    "[ ,;:()<>\"'!*|👉🎉。]{0,4}"
}

/// Signs that end a host name and begin no path, query or fragment.
fn parting() -> impl Strategy<Value = String> {
    "[ ,;()<>\"'!*|=+&\\]}{~^]{1,3}"
}

proptest! {
    #[test]
    fn nothing_around_an_address_hides_it(
        before in around(),
        address in prop::sample::select(vec!["https://evil.net", "evil.net/x", "evil.uno/x", "EVIL.net"]),
        after in around(),
    ) {
        let text = format!("{before}{address}{after}");
        prop_assert!(first_forbidden(&["example.com"], &text).is_some(), "{}", text);
    }

    #[test]
    fn a_bracketed_dot_hides_no_host_before_it(
        address in prop::sample::select(vec!["https://evil.net", "evil.net", "evil.uno/x"]),
        dot in prop::sample::select(BRACKETED_DOTS.to_vec()),
        spaces in " {0,2}",
        after in prop::sample::select(vec!["example.com", "com", "zzz", ""]),
    ) {
        let text = format!("{address}{spaces}{dot}{spaces}{after}");
        prop_assert!(first_forbidden(&["example.com"], &text).is_some(), "{}", text);
    }

    #[test]
    fn an_allowed_host_hides_no_other_one(
        sign in parting(),
        address in prop::sample::select(vec!["evil.net", "evil.net/x", "evil.uno/x"]),
    ) {
        let text = format!("example.com{sign}{address}");
        prop_assert!(first_forbidden(&["example.com"], &text).is_some(), "{}", text);
    }

    #[test]
    fn a_text_without_dot_and_colon_has_no_link(text in "[a-z /@?#\\[\\]()-]{0,60}") {
        prop_assume!(!text.contains("dot"));
        prop_assert_eq!(first_forbidden(&[], &text), None);
    }

    #[test]
    fn an_allowed_host_is_never_the_forbidden_one(text in "[a-z.:/@?#\\[\\]() -]{0,60}") {
        if let Some(host) = first_forbidden(&[], &text).filter(|host| !host.contains('@')) {
            prop_assert_ne!(first_forbidden(&[&host], &text), Some(host));
        }
    }

    #[test]
    fn case_and_invisible_characters_change_nothing(
        text in "[a-z.:/@ -]{1,40}",
        hidden in prop::sample::select(
            vec!['\u{12}', '\u{7f}', '\u{200b}', '\u{2060}', '\u{feff}', '\u{ad}'],
        ),
        at in any::<prop::sample::Index>(),
    ) {
        let mut dressed: Vec<char> = text.to_uppercase().chars().collect();
        dressed.insert(at.index(dressed.len() + 1), hidden);
        let dressed: String = dressed.into_iter().collect();
        prop_assert_eq!(first_forbidden(&[], &dressed), first_forbidden(&[], &text));
    }
}
