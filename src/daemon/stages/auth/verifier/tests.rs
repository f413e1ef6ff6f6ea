//! Tests of the checks of a token, in their order.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::daemon::base::config::KeyConfig;
use crate::daemon::engines::metadata::Subject;
use crate::daemon::stages::auth::fixtures::{self, NOW_MS, NOW_S, SECRET, sign, sign_with_header};
use crate::daemon::stages::auth::{ClaimedUser, StreamRoles};
use crate::protocol::{ErrorCode, Standing, UserId};

fn claims() -> Value {
    json!({"sub": "42", "name": "ann", "exp": NOW_S + 60})
}

/// The usual claims with some changed; `null` removes one.
fn with(changes: &Value) -> Value {
    let mut claims = claims();
    for (key, value) in changes.as_object().unwrap() {
        claims[key] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(key);
        }
    }
    claims
}

fn config(directory: &Path) -> AuthConfig {
    let keys = [
        (KeyAlgorithm::RS256, fixtures::RSA_PUBLIC, None),
        (KeyAlgorithm::ES256, fixtures::P256_PUBLIC, Some("phone")),
        (KeyAlgorithm::EdDSA, fixtures::ED25519_PUBLIC, None),
    ];
    let keys = keys.map(|(algorithm, pem, kid)| {
        let file = directory.join(format!("{algorithm:?}.pem"));
        std::fs::write(&file, pem).unwrap();
        KeyConfig { algorithm, file, kid: kid.map(str::to_owned) }
    });
    AuthConfig { keys: keys.to_vec(), ..AuthConfig::default() }
}

fn verifier_with(adjust: impl FnOnce(&mut AuthConfig)) -> Verifier {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    adjust(&mut config);
    Verifier::new(&config, Some(SECRET), Arc::new(fixtures::StoppedClock)).unwrap()
}

fn verifier() -> Verifier {
    verifier_with(|_| {})
}

fn code(verifier: &Verifier, token: &str) -> ErrorCode {
    verifier.verify(token).unwrap_err().code()
}

#[test]
fn a_valid_token_of_each_algorithm_is_accepted() {
    let verifier = verifier();
    for (alg, kid) in [("HS256", None), ("RS256", None), ("EdDSA", None)] {
        let token = sign(alg, kid, &claims());
        let verified = verifier.verify(&token).unwrap();
        assert_eq!(verified.claims.user, ClaimedUser::Id(UserId(42)), "{alg}");
        assert_eq!(verified.claims.role, Role::Viewer);
        assert_eq!(verified.expires_at_ms, NOW_MS + 60_000);
    }
    let token = sign("ES256", Some("phone"), &claims());
    assert!(verifier.verify(&token).is_ok());
}

#[test]
fn the_age_of_an_account_is_a_claim_of_choice() {
    let created = |name: &str, claims| {
        let verifier = verifier_with(|config| config.account_created_claim = name.to_owned());
        let token = sign("HS256", None, &with(&claims));
        verifier.verify(&token).unwrap().claims.standing.account_created
    };
    let both = json!({ "account_created": 1_700_000_000.5, "created_at": 1_600_000_000 });
    assert_eq!(created("account_created", both.clone()), Some(1_700_000_000_500));
    assert_eq!(created("created_at", both.clone()), Some(1_600_000_000_000));
    assert_eq!(created("", both), None);
    for other in [json!({ "created_at": "2026-01-01" }), json!({ "created_at": -5 }), json!({})] {
        assert_eq!(created("created_at", other), None);
    }
}

#[test]
fn all_claims_reach_the_identity() {
    let all = with(&json!({
        "sub": 7,
        "role": "broadcaster",
        "comments_per_minute": 0,
        "subscriber": true,
        "follower_since": 1_700_000_000.5,
        "picture": "https://img.example/a.png",
    }));
    let found = verifier().verify(&sign("HS256", None, &all)).unwrap().claims;
    let expected = UserClaims {
        user: ClaimedUser::Id(UserId(7)),
        name: "ann".into(),
        avatar: Some("https://img.example/a.png".into()),
        role: Role::Broadcaster,
        stream_roles: StreamRoles::default(),
        comments_per_minute: Some(0),
        standing: Standing {
            subscriber: true,
            follower_since: Some(1_700_000_000_500),
            account_created: None,
        },
    };
    assert_eq!(found, expected);
    let identity = found.identity(UserId(7), Role::Admin);
    assert_eq!((identity.role, identity.avatar), (Role::Admin, expected.avatar));
}

#[test]
fn a_key_with_a_kid_is_used_for_that_kid_only() {
    let verifier = verifier();
    for kid in [None, Some("laptop")] {
        let token = sign("ES256", kid, &claims());
        assert_eq!(code(&verifier, &token), ErrorCode::TokenSignature, "{kid:?}");
    }
}

#[test]
fn forged_tokens_are_refused_with_their_code() {
    let verifier = verifier();
    let good = sign("HS256", None, &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let admin = URL_SAFE_NO_PAD.encode(with(&json!({"role": "admin"})).to_string());
    let hmac_with = |key: &[u8]| fixtures::sign_hs256(key, &claims());
    let unsigned = |alg: &str| format!("{}.", sign_with_header(&json!({"alg": alg}), &claims()));
    let reheaded = |alg: &str| {
        let signed = sign_with_header(&json!({"alg": alg}), &claims());
        format!("{signed}.{signature}")
    };
    for (what, token, expected) in [
        ("alg none", unsigned("none"), ErrorCode::TokenAlgorithm),
        ("alg None", unsigned("None"), ErrorCode::TokenAlgorithm),
        ("alg nOnE with a signature", reheaded("nOnE"), ErrorCode::TokenAlgorithm),
        ("HS384", reheaded("HS384"), ErrorCode::TokenAlgorithm),
        ("PS256", reheaded("PS256"), ErrorCode::TokenAlgorithm),
        ("empty alg", reheaded(""), ErrorCode::TokenAlgorithm),
        ("no signature", format!("{signed}."), ErrorCode::TokenSignature),
        ("claims swapped", format!("{header}.{admin}.{signature}"), ErrorCode::TokenSignature),
        ("another secret", hmac_with(b"another secret of 32 bytes......"), {
            ErrorCode::TokenSignature
        }),
        ("the empty secret", hmac_with(b""), ErrorCode::TokenSignature),
        ("RSA public key as HMAC secret", hmac_with(fixtures::RSA_PUBLIC.as_bytes()), {
            ErrorCode::TokenSignature
        }),
        ("RS256 header on an HS256 signature", reheaded("RS256"), ErrorCode::TokenSignature),
        ("another RSA key", fixtures::sign_other_rsa(&claims()), ErrorCode::TokenSignature),
    ] {
        assert_eq!(code(&verifier, &token), expected, "{what}");
    }
}

#[test]
fn an_algorithm_without_a_key_is_refused() {
    let verifier = verifier_with(|config| config.keys.clear());
    let token = sign("RS256", None, &claims());
    assert_eq!(code(&verifier, &token), ErrorCode::TokenAlgorithm);
    let keyless =
        Verifier::new(&AuthConfig::default(), None, Arc::new(fixtures::StoppedClock)).unwrap();
    assert_eq!(code(&keyless, &sign("HS256", None, &claims())), ErrorCode::TokenAlgorithm);
}

#[test]
fn text_that_is_not_a_token_is_malformed() {
    let verifier = verifier();
    let good = sign("HS256", None, &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let crit = sign_with_header(&json!({"alg": "HS256", "crit": ["b64"]}), &claims());
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        "hello".to_owned(),
        format!("{good}.x"),
        format!("{signed}.{signature}="),
        format!("{signed}.*"),
        format!("!{good}"),
        format!("{}.e30.", URL_SAFE_NO_PAD.encode("{}")),
        format!("{}.e30.", URL_SAFE_NO_PAD.encode("[]")),
        format!("{}.e30.", URL_SAFE_NO_PAD.encode(r#"{"alg":7}"#)),
        format!("{crit}.{signature}"),
        "a".repeat(MAX + 1),
    ] {
        assert_eq!(code(&verifier, &token), ErrorCode::TokenMalformed, "{token}");
    }
}
const MAX: usize = crate::daemon::stages::auth::MAX_TOKEN_BYTES;

#[test]
fn claims_out_of_range_are_refused() {
    let verifier = verifier();
    for changes in [
        json!({"exp": null}),
        json!({"exp": "soon"}),
        json!({"exp": -1}),
        json!({"nbf": -1}),
        json!({"nbf": "now"}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "x".repeat(256)}),
        json!({"sub": "a\nb"}),
        json!({"sub": ["ann"]}),
        json!({"sub": true}),
        json!({"sub": 0}),
        json!({"sub": -4}),
        json!({"sub": 1.5}),
        json!({"sub": 9_223_372_036_854_775_808_u64}),
        json!({"sub": "ann", "iss": "x".repeat(256)}),
        json!({"name": null}),
        json!({"name": 7}),
        json!({"name": ""}),
        json!({"name": "  "}),
        json!({"name": "a\nb"}),
        json!({"name": "\u{3164}"}),
        json!({"name": "\u{200B}"}),
        json!({"name": "\u{2800}"}),
        json!({"name": "\u{301}"}),
        json!({"name": "x".repeat(65)}),
        json!({"role": "king"}),
        json!({"role": 1}),
        json!({"role": {"of": "admin"}}),
        json!({"streams": ["7"]}),
        json!({"streams": {"7": "admin"}}),
        json!({"streams": {"seven": "moderator"}}),
        json!({"comments_per_minute": -1}),
        json!({"comments_per_minute": "many"}),
        json!({"subscriber": "yes"}),
        json!({"follower_since": -1}),
        json!({"follower_since": "2020"}),
        json!({"aud": 7}),
    ] {
        let token = sign("HS256", None, &with(&changes));
        assert_eq!(code(&verifier, &token), ErrorCode::TokenClaims, "{changes}");
    }
    let token = sign("HS256", None, &json!(["not", "an", "object"]));
    assert_eq!(code(&verifier, &token), ErrorCode::TokenClaims);
}

fn user(verifier: &Verifier, alg: &str, changes: &Value) -> ClaimedUser {
    verifier.verify(&sign(alg, None, &with(changes))).unwrap().claims.user
}

#[test]
fn a_subject_may_have_any_form() {
    let verifier = verifier();
    let longest = "x".repeat(255);
    for name in [
        "123e4567-e89b-12d3-a456-426614174000",
        "auth0|5f7c8ec7c33c6c004bbafe82",
        "ann@site.example",
        "0",
        "-4",
        "9223372036854775808",
        "Ω 漢字",
        &longest,
    ] {
        for alg in ["HS256", "RS256"] {
            let found = user(&verifier, alg, &json!({"sub": name, "iss": "https://id.example"}));
            let expected = Subject::new("https://id.example", name).unwrap();
            assert_eq!(found, ClaimedUser::Subject(expected), "{alg} {name}");
        }
    }
    let unnamed = user(&verifier, "RS256", &json!({"sub": "ann"}));
    assert_eq!(unnamed, ClaimedUser::Subject(Subject::new("", "ann").unwrap()));
}

#[test]
fn leading_zeros_name_another_user() {
    let verifier = verifier();
    for alg in ["HS256", "RS256"] {
        let of =
            |sub: &str| user(&verifier, alg, &json!({"sub": sub, "iss": "https://id.example"}));
        assert_eq!(of("7"), ClaimedUser::Id(UserId(7)), "{alg}");
        for sub in ["07", "007"] {
            let expected = Subject::new("https://id.example", sub).unwrap();
            assert_eq!(of(sub), ClaimedUser::Subject(expected), "{alg}");
        }
    }
}

#[test]
fn a_foreign_role_of_an_issuer_gives_the_lowest() {
    let verifier = verifier();
    let role = |alg: &str, role: Value| {
        let verified = verifier.verify(&sign(alg, None, &with(&json!({ "role": role }))));
        verified.map(|token| token.claims.role).map_err(|error| error.code())
    };
    assert_eq!(role("RS256", json!("authenticated")), Ok(Role::Viewer));
    assert_eq!(role("RS256", json!("")), Ok(Role::Viewer));
    assert_eq!(role("RS256", json!(["authenticated"])), Ok(Role::Viewer));
    assert_eq!(role("RS256", json!("moderator")), Ok(Role::Moderator));
    let own = role("HS256", json!("authenticated"));
    assert_eq!(own, Err(ErrorCode::TokenClaims), "a mistake of our own");
    assert_eq!(role("RS256", json!(7)), Err(ErrorCode::TokenClaims));
}

/// Ids of subjects begin at 2^62, so an issuer cannot name one by its number.
#[test]
fn an_issuer_names_no_id_of_a_subject() {
    let verifier = verifier();
    for sub in [json!(1_u64 << 62), json!("4611686018427387904"), json!(i64::MAX)] {
        let of_issuer = user(&verifier, "RS256", &json!({ "sub": sub }));
        assert!(matches!(of_issuer, ClaimedUser::Subject(_)), "{sub}");
        let own = user(&verifier, "HS256", &json!({ "sub": sub }));
        assert!(matches!(own, ClaimedUser::Id(_)), "{sub}");
    }
    let highest = user(&verifier, "RS256", &json!({"sub": (1_u64 << 62) - 1}));
    assert_eq!(highest, ClaimedUser::Id(UserId((1 << 62) - 1)));
}

#[test]
fn claims_are_read_under_configured_names() {
    let verifier = verifier_with(|config| {
        config.claims = ClaimNames {
            user: "https://site.example/uid".to_owned(),
            name: "preferred_username".to_owned(),
            role: "realm_access.roles".to_owned(),
            avatar: "profile.picture".to_owned(),
        };
    });
    let claims = json!({
        "sub": "ignored",
        "https://site.example/uid": 7,
        "name": "Ann Example of a long name",
        "preferred_username": "ann",
        "role": "admin",
        "realm_access": {"roles": ["offline_access", "moderator", 7, "viewer"]},
        "profile": {"picture": "https://img.example/a.png"},
        "exp": NOW_S + 60,
    });
    let found = verifier.verify(&sign("RS256", None, &claims)).unwrap().claims;
    assert_eq!((found.user, &*found.name), (ClaimedUser::Id(UserId(7)), "ann"));
    assert_eq!((found.role, found.avatar.is_some()), (Role::Moderator, true));
    let own = verifier.verify(&sign("HS256", None, &with(&json!({"role": "admin"})))).unwrap();
    assert_eq!((own.claims.user, own.claims.role), (ClaimedUser::Id(UserId(42)), Role::Admin));
    let missing = code(&verifier, &sign("RS256", None, &with(&json!({}))));
    assert_eq!(missing, ErrorCode::TokenClaims);
}

#[test]
fn a_picture_that_cannot_be_used_is_left_out() {
    for picture in [json!("http://img.example/a.png"), json!(7), json!("javascript:alert(1)")] {
        let token = sign("HS256", None, &with(&json!({ "picture": picture })));
        assert_eq!(verifier().verify(&token).unwrap().claims.avatar, None, "{picture}");
    }
}

#[test]
fn the_higher_role_counts_on_a_stream() {
    let streams = json!({"7": "moderator", "8": "broadcaster"});
    let roles = |role: &str| {
        let token = sign("HS256", None, &with(&json!({"role": role, "streams": streams})));
        let token = verifier().verify(&token).unwrap();
        [None, Some(7), Some(8), Some(9)].map(|stream| token.role_on(stream.map(StreamId)))
    };
    use Role::{Admin, Broadcaster, Moderator, Viewer};
    assert_eq!(roles("viewer"), [Viewer, Moderator, Broadcaster, Viewer]);
    assert_eq!(roles("broadcaster"), [Broadcaster; 4]);
    assert_eq!(roles("admin"), [Admin; 4]);
}

#[test]
fn a_name_of_64_characters_may_have_more_bytes() {
    let name = "é".repeat(64);
    let token = sign("HS256", None, &with(&json!({"name": name})));
    assert_eq!(&*verifier().verify(&token).unwrap().claims.name, name);
}

#[test]
fn a_name_is_read_in_its_normal_form() {
    for name in ["ann ", "ann\u{200B}", "\u{202E}ann", "ann\u{2800}"] {
        let token = sign("HS256", None, &with(&json!({"name": name})));
        assert_eq!(&*verifier().verify(&token).unwrap().claims.name, "ann", "{name:?}");
    }
}

#[test]
fn time_is_checked_with_leeway_to_the_millisecond() {
    let verifier = verifier_with(|config| config.leeway = Duration::from_secs(30));
    let result = |changes: &Value| {
        let verified = verifier.verify(&sign("HS256", None, &with(changes)));
        verified.map(|_| ()).map_err(|error| error.code())
    };
    let expired = Err(ErrorCode::TokenExpired);
    assert_eq!(result(&json!({"exp": NOW_S - 29})), Ok(()));
    assert_eq!(result(&json!({"exp": NOW_S - 30})), expired);
    assert_eq!(result(&json!({"exp": NOW_S as f64 - 29.999})), Ok(()));
    assert_eq!(result(&json!({"exp": 0})), expired);
    assert_eq!(result(&json!({"exp": 1e300})), Ok(()));
    assert_eq!(result(&json!({"nbf": NOW_S + 30})), Ok(()));
    assert_eq!(result(&json!({"nbf": NOW_S + 31})), Err(ErrorCode::TokenNotYetValid));
}

#[test]
fn a_token_is_valid_until_its_expiry_plus_leeway() {
    let verifier = verifier_with(|config| config.leeway = Duration::from_secs(30));
    for (exp, left) in [(NOW_S + 60, 90), (NOW_S, 30), (NOW_S - 29, 1)] {
        let token = sign("HS256", None, &with(&json!({"exp": exp})));
        let verified = verifier.verify(&token).unwrap();
        assert_eq!(verifier.time_left(&verified), Duration::from_secs(left));
    }
}

#[test]
fn issuer_and_audience_must_match() {
    let strict = verifier_with(|config| {
        config.issuer = "accounts".to_owned();
        config.audience = "chat".to_owned();
    });
    let result = |alg, changes: &Value| {
        let verified = strict.verify(&sign(alg, None, &with(changes)));
        verified.map(|_| ()).map_err(|error| error.code())
    };
    let issuer = Err(ErrorCode::TokenIssuer);
    let audience = Err(ErrorCode::TokenAudience);
    assert_eq!(result("RS256", &json!({"iss": "accounts", "aud": "chat"})), Ok(()));
    assert_eq!(result("RS256", &json!({"iss": "accounts", "aud": ["tv", "chat"]})), Ok(()));
    assert_eq!(result("RS256", &json!({"aud": "chat"})), issuer);
    assert_eq!(result("RS256", &json!({"iss": "evil", "aud": "chat"})), issuer);
    assert_eq!(result("RS256", &json!({"iss": "accounts"})), audience);
    assert_eq!(result("RS256", &json!({"iss": "accounts", "aud": ["tv"]})), audience);
    assert_eq!(result("HS256", &json!({})), Ok(()), "the node's own tokens carry neither");
    assert_eq!(result("HS256", &json!({"iss": "evil"})), issuer);
    assert_eq!(result("HS256", &json!({"aud": "tv"})), audience);
}

#[test]
fn an_audience_without_configuration_is_refused() {
    let token = sign("HS256", None, &with(&json!({"aud": "chat", "iss": "any"})));
    assert_eq!(code(&verifier(), &token), ErrorCode::TokenAudience);
}
