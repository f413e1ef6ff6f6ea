use proptest::prelude::*;

use super::*;
use crate::protocol::admin::Status;

/// A row with one column of each kind, and one without a value.
struct Sample;

impl Row for Sample {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "in" => Value::Number(1_500.0),
            "late" => Value::Number(0.13),
            "p99" => Value::Number(84.0),
            "sent" => Value::Number(100e6),
            "title" => "Grand Final, main stage".into(),
            "anonymous" => Value::Flag(true),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit("Grand Final, main stage");
        visit("Müller");
    }
}

impl Columns for Sample {
    const COLUMNS: &'static [Column] = &[
        Column::new("in", Kind::Number),
        Column::new("late", Kind::Share),
        Column::new("p99", Kind::Duration),
        Column::new("sent", Kind::Bytes),
        Column::new("title", Kind::Text),
        Column::new("anonymous", Kind::Flag),
        Column::new("limit", Kind::Bytes),
    ];
}

fn parse(text: &str) -> Result<Filter, FilterError> {
    Filter::parse(text, Sample::COLUMNS)
}

#[track_caller]
fn assert_matches(text: &str, expected: bool) {
    let filter = parse(text).unwrap_or_else(|error| panic!("{text}: {error} at {:?}", error.at));
    assert_eq!(filter.matches(&Sample), expected, "{text}");
    let printed = filter.to_string();
    assert_eq!(parse(&printed).as_ref(), Ok(&filter), "{text} is printed as {printed}");
}

#[test]
fn conditions_compare_columns_with_values() {
    for text in [
        "",
        "  ",
        "in=1500",
        "in = 1.5k",
        "in>=1.5k/s",
        "in>1k in<1.6k",
        "in!=1",
        "late=13%",
        "late>1%",
        "late<all",
        "late>none",
        "late=0.13",
        "p99>=84ms",
        "p99<2h",
        "p99>0.05s",
        "p99<1m30s",
        "sent=100MB",
        "sent=100M",
        "sent>1KiB",
        "title=\"grand final, MAIN stage\"",
        "title~final",
        "title ~ /^grand.*stage$/",
        "title>a",
        "anonymous=yes",
        "anonymous!=no",
        "limit=-",
        "title!=-",
        "limit!=10",
        "in in (1, 2, 1.5k)",
    ] {
        assert_matches(text, true);
    }
    for text in [
        "in<1500",
        "in>1.5k",
        "p99>84ms",
        "p99>1m",
        "title=final",
        "title~/(?-i)grand/",
        "limit>0",
        "limit<1G",
        "limit=0",
        "limit!=-",
        "title~nothing",
        "in in (1, 2)",
        "anonymous=no",
    ] {
        assert_matches(text, false);
    }
}

#[test]
fn words_and_expressions_look_at_all_texts() {
    for text in ["final", "FINAL stage", "/m.ller/", "\"grand final\"", "MÜLLER", "!semi", "!!main"]
    {
        assert_matches(text, true);
    }
    for text in ["semi", "!final", "\"final grand\"", "/^stage/", "final semi"] {
        assert_matches(text, false);
    }
}

#[test]
fn and_binds_stronger_than_or() {
    assert_matches("semi and final or stage", true);
    assert_matches("stage or semi and nothing", true);
    assert_matches("(stage or semi) and nothing", false);
    assert_matches("!(semi or nothing) in>1k", true);
    assert_matches("in>1k AND (late>1% OR p99>1s)", true);
    assert_eq!(parse("a  and (b c)").unwrap().to_string(), "a b c");
    assert_eq!(parse("a (b or(c))").unwrap().to_string(), "a (b or c)");
}

#[test]
fn an_error_says_where_it_is() {
    let wrong = |text: &str| {
        let error = parse(text).expect_err(text);
        (text.get(error.at.clone()).unwrap().to_owned(), error.message)
    };
    for (text, at, message) in [
        ("in>", "", "a value is missing after `>`"),
        ("in>1k and", "", "a condition is missing here"),
        ("or in>1k", "or", "a condition is missing before `or`"),
        ("(in>1k", "(", "`(` is not closed"),
        ("in>1k)", ")", "nothing is open that `)` could close"),
        ("()", ")", "a condition is missing before `)`"),
        (">3", ">", "a column is missing before this"),
        ("in>5ms", "5ms", "`5ms` is not a number such as 12, 10k or 1.5M"),
        ("p99>13%", "13%", "`13%` is not a duration such as 84ms, 2s, 5m or 1h30m"),
        ("anonymous=maybe", "maybe", "`maybe` is not yes or no"),
        ("in=\"5\"", "\"5\"", "`5` is not a number such as 12, 10k or 1.5M"),
        ("limit>-", "-", "`-` is no value; only = and != can ask for it"),
        ("title~/(/", "/(/", "unclosed group"),
        ("/a", "/a", "the regular expression is not closed by `/`"),
        ("\"a", "\"a", "the quotation mark is not closed"),
        ("in in (1", "(", "`(` is not closed"),
        ("in in (1 2)", "2", "write `,` between values"),
    ] {
        assert_eq!(wrong(text), (at.to_owned(), message.to_owned()), "{text}");
    }
    let (at, message) = wrong("final vewers>1k");
    assert_eq!(at, "vewers");
    assert!(message.starts_with("no column `vewers`; there are in, late,"), "{message}");
    assert!("vewers>1k".parse::<Filter>().is_ok(), "columns are not known here");
}

#[test]
fn hostile_filters_are_refused_quickly() {
    let nested = format!("{}a{}", "(".repeat(500), ")".repeat(500));
    assert!(parse(&nested).unwrap_err().message.contains("in each other"));
    assert!(parse(&"!".repeat(1_000)).unwrap_err().message.contains("in each other"));
    assert!(parse(&"a".repeat(MAX_BYTES + 1)).unwrap_err().message.contains("at most"));
    assert!(parse("/(a{1,1000}){1,1000}/").unwrap_err().message.contains("size limit"));
}

/// A row with a whole number.
struct Counted(u64);

impl Row for Counted {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        (name == "id").then(|| Value::count(self.0))
    }

    fn texts(&self, _: &mut dyn FnMut(&str)) {}
}

fn holds(id: u64, condition: &str) -> bool {
    condition.parse::<Filter>().unwrap().matches(&Counted(id))
}

#[test]
fn whole_numbers_compare_exactly_at_any_size() {
    assert!(!holds(966_586_568_402_952, "id=966586568402943"));
    assert!(holds(966_586_568_402_952, "id>966586568402943"));
    for id in [1 << 53, (1 << 53) + 1, u64::MAX - 1, u64::MAX] {
        let below = id - 1;
        assert!(holds(id, &format!("id={id} id<={id} id>={id} id~{id} id in (3, {id})")));
        assert!(!holds(id, &format!("id!={id} or id<{id} or id>{id}")), "{id}");
        assert!(holds(id, &format!("id!={below} id>{below} id>={below}")), "{id}");
        assert!(!holds(id, &format!("id={below} or id<{below} or id~{below}")), "{id}");
        assert!(holds(below, &format!("id<{id} id!={id}")), "{id}");
        assert!(holds(id, &format!("id>{below}.5")), "{id}");
    }
    assert!(holds(u64::MAX, "id<18446744073709551616 id>-1 id<99999999T"));
}

#[test]
fn whole_numbers_are_written_with_units_too() {
    for (id, condition) in [
        (1_500, "id=1.5k id=1500.0 id=1.50k id=1.5s id=1500ms id=1500000us id=1.5kB"),
        (1_001, "id=1.001s id=1.001k id>1000.9 id<1001.1 id!=1001.5"),
        (5_400_000, "id=1h30m id=1.5h id=90m id<1h31m"),
        (1, "id=all id=100% id>99% id>none id=1."),
        (0, "id=none id=.0 id=-0 id<.5"),
        (1_048_576, "id=1MiB id=1024KiB"),
    ] {
        assert!(holds(id, condition), "{id}: {condition}");
    }
}

fn bare() -> impl Strategy<Value = Literal> {
    prop_oneof![
        "[0-9]{1,4}(\\.[0-9])?(k|M|%|ms|s|h|MB|)".prop_map(Literal::bare),
        "[^\"]{0,8}".prop_map(Literal::bare),
        ".{0,8}".prop_map(Literal::quoted),
    ]
}

fn column() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_/.]{0,6}".prop_filter("keyword", |name| name != "and" && name != "or")
}

fn expression() -> impl Strategy<Value = Expr> {
    let text = prop_oneof![".{0,8}", "(and|or|in|!a|a!|/a/|a=b|a~b|a,b)"];
    let pattern = prop_oneof![
        text.prop_map(|text| Pattern::text(&text).unwrap()),
        "(\\\\/|\\\\\\\\|/|[a-z. ]|\\[/\\]|\\\\d){0,6}"
            .prop_map(|text| Pattern::regex(&text).unwrap()),
    ];
    let leaf = prop_oneof![
        (column(), 0..Op::ALL.len(), bare()).prop_map(|(column, op, literal)| {
            let equality = [Op::Equal, Op::NotEqual][op % 2];
            let op = if literal.is_absence() { equality } else { Op::ALL[op] };
            Expr::Compare { column, op, literal }
        }),
        (column(), proptest::collection::vec(bare(), 1..4))
            .prop_map(|(column, literals)| Expr::OneOf { column, literals }),
        (proptest::option::of(column()), pattern)
            .prop_map(|(column, pattern)| Expr::Contains { column, pattern }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::all),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::any),
            inner.prop_map(|inner| Expr::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn distinct_ids_never_match_each_other(
        a in any::<u64>(),
        distance in 1_u64..1_000,
        b in any::<u64>(),
    ) {
        for other in [a.wrapping_add(distance), b] {
            prop_assert_eq!(holds(a, &format!("id={other}")), a == other);
            prop_assert_eq!(holds(a, &format!("id!={other}")), a != other);
            prop_assert_eq!(holds(a, &format!("id<{other}")), a < other);
            prop_assert_eq!(holds(a, &format!("id>={other}")), a >= other);
        }
    }

    #[test]
    fn a_printed_filter_is_parsed_to_itself(expression in expression()) {
        let filter = Filter::new(expression);
        let printed = filter.to_string();
        let again = printed.parse::<Filter>();
        prop_assert_eq!(again.as_ref(), Ok(&filter), "{}", printed);
    }

    #[test]
    fn any_text_is_parsed_or_refused_in_place(text in "[a-z0-9 ()!=<>~/\"\\\\,.%\u{301}é-]{0,40}") {
        match parse(&text) {
            Ok(filter) => {
                let printed = filter.to_string();
                let again = parse(&printed);
                prop_assert_eq!(again.as_ref(), Ok(&filter), "{}", printed);
                filter.matches(&Sample);
            }
            Err(error) => prop_assert!(text.get(error.at).is_some()),
        }
    }
}

#[test]
fn words_that_a_column_never_has_are_refused() {
    let wrong = |text: &str| Filter::parse(text, Status::COLUMNS).unwrap_err().message;
    let expected = "`wel` is never there; there are well, degraded, failing";
    assert_eq!(wrong("health=wel"), expected);
    assert_eq!(wrong("health in (well, wel)"), expected);
    for right in ["health=well", "health!=Degraded", "health~wel", "health=-"] {
        assert!(Filter::parse(right, Status::COLUMNS).is_ok(), "{right}");
    }
}
