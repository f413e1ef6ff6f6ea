//! A peer that breaks a rule, and what it is told.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whole records that the peer has not sealed end the connection.
    #[test]
    fn a_forged_record_is_refused(sealed in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut pair = Pair::connect(0, b"", 0);
        let [high, low] = (sealed.len() as u16).to_be_bytes();
        pair.network.to_server.bytes.extend([APPLICATION_DATA, 3, 3, high, low]);
        pair.network.to_server.bytes.extend(&sealed);
        prop_assert_eq!(pair.refusal(), Some(AlertDescription::BadRecordMac));
    }

    /// Any bytes end the connection, but for the start of a record that may yet become whole.
    #[test]
    fn any_bytes_of_a_stranger_are_refused(
        kind in prop_oneof![Just(APPLICATION_DATA), any::<u8>()],
        rest in prop::collection::vec(any::<u8>(), 4..300),
    ) {
        let mut pair = Pair::connect(0, b"", 0);
        pair.network.to_server.bytes.push_back(kind);
        pair.network.to_server.bytes.extend(&rest);
        let announced = usize::from(rest[2]) * 256 + usize::from(rest[3]);
        let longest = MAX_PLAIN_BYTES + 256;
        if kind == APPLICATION_DATA && announced > rest.len() - 4 && announced <= longest {
            prop_assert_eq!(pair.server_reads().unwrap(), b"");
        } else {
            prop_assert!(pair.refusal().is_some());
        }
    }
}

#[test]
fn a_renewal_without_its_secret_ends_the_connection() {
    let mut connected = Connected::new(&provider(0), b"", 0);
    connected.secrets = TrafficSecrets::default();
    let mut pair = Pair::of(connected);
    pair.client_sends(b"hello");
    assert_eq!(pair.server_reads().unwrap(), b"hello");
    assert_eq!(pair.server_sends(b"hello"), 5);
    assert_eq!(pair.client_reads(), b"hello");
    pair.client.refresh_traffic_keys().unwrap();
    pair.carry_from_client();
    assert_eq!(pair.refusal(), Some(AlertDescription::InternalError));
}

#[test]
fn key_updates_without_text_are_limited() {
    let mut pair = Pair::connect(0, b"", 0);
    for text in [b"one", b"two"] {
        for _ in 0..MAX_RECORDS_WITHOUT_TEXT {
            pair.client.refresh_traffic_keys().unwrap();
        }
        pair.client_sends(text);
        assert_eq!(pair.server_reads().unwrap(), text);
    }
    for _ in 0..=MAX_RECORDS_WITHOUT_TEXT {
        pair.client.refresh_traffic_keys().unwrap();
        pair.carry_from_client();
    }
    assert_eq!(pair.refusal(), Some(AlertDescription::UnexpectedMessage));
}

#[test]
fn key_updates_are_limited_over_a_connection() {
    let mut pair = Pair::connect(0, b"", 0);
    for _ in 0..MAX_KEY_UPDATES {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client_sends(b".");
        assert_eq!(pair.server_reads().unwrap(), b".");
        pair.client_reads();
    }
    pair.client.refresh_traffic_keys().unwrap();
    pair.carry_from_client();
    assert_eq!(pair.refusal(), Some(AlertDescription::UnexpectedMessage));
}

#[test]
fn text_before_a_bad_record_is_read() {
    let mut pair = Pair::connect(0, b"", 0);
    pair.client_sends(b"good");
    pair.network.to_server.bytes.extend([APPLICATION_DATA, 3, 3, 0, 0]);
    let mut buffer = [0; 9];
    assert_eq!(pair.server.read(&mut pair.network, &mut buffer).unwrap(), Some(4));
    assert_eq!(pair.refusal(), Some(AlertDescription::BadRecordMac));
    pair.server.say_close(&mut pair.network);
    assert!(pair.network.to_client.bytes.is_empty(), "nothing follows a fatal alert");
}

#[test]
fn bytes_after_the_end_are_ignored() {
    let mut pair = Pair::connect(0, b"", 0);
    pair.client_sends(b"bye");
    pair.client.send_close_notify();
    pair.carry_from_client();
    pair.network.to_server.bytes.extend([HANDSHAKE, 3, 3, 0, 1, 0]);
    assert_eq!(pair.server_reads().unwrap(), b"bye");
    assert!(pair.owns_no_buffer());
}

#[test]
fn empty_records_are_limited() {
    let mut pair = Pair::connect(0, b"", 0);
    let empty = [(APPLICATION_DATA, &b""[..]); MAX_RECORDS_WITHOUT_TEXT as usize];
    let text = [(APPLICATION_DATA, &b"text"[..])];
    pair.client_seals(empty.into_iter().chain(text).chain(empty));
    assert_eq!(pair.server_reads().unwrap(), b"text");
    pair.client_seals([(APPLICATION_DATA, &b""[..])]);
    assert_eq!(pair.refusal(), Some(AlertDescription::UnexpectedMessage), "in a later read");
}

#[test]
fn records_that_break_a_rule_are_refused() {
    let long = vec![b'x'; MAX_PLAIN_BYTES + 1];
    let of_zeros = vec![0; MAX_PLAIN_BYTES + 1];
    for (kind, plain, alert) in [
        (APPLICATION_DATA, &long[..], AlertDescription::RecordOverflow),
        (APPLICATION_DATA, &of_zeros[..], AlertDescription::RecordOverflow),
        (HANDSHAKE, &[24, 0, 0][..], AlertDescription::UnexpectedMessage),
        (HANDSHAKE, &[24, 0, 0, 1, 2][..], AlertDescription::IllegalParameter),
        (ALERT, &[][..], AlertDescription::UnexpectedMessage),
        (ALERT, &[1][..], AlertDescription::DecodeError),
        (ALERT, &[2, 40, 0][..], AlertDescription::DecodeError),
        (HANDSHAKE, &[1, 0, 0, 1, 0][..], AlertDescription::UnexpectedMessage),
        (20, &[1][..], AlertDescription::UnexpectedMessage),
        (0, &[0, 0][..], AlertDescription::UnexpectedMessage),
    ] {
        let mut pair = Pair::connect(0, b"", 0);
        pair.client_seals([(kind, plain)]);
        assert_eq!(pair.refusal(), Some(alert), "type {kind}, {} bytes", plain.len());
    }
    let mut pair = Pair::connect(0, b"", 0);
    pair.client_seals([(APPLICATION_DATA, &long[1..])]);
    assert_eq!(pair.server_reads().unwrap(), &long[1..]);
    // Its type outside is that of a handshake.
    pair.network.to_server.bytes.extend([HANDSHAKE, 3, 3, 0, 1, 0]);
    assert_eq!(pair.refusal(), Some(AlertDescription::UnexpectedMessage));
}

#[test]
fn alerts_end_the_connection_but_user_canceled() {
    let mut pair = Pair::connect(0, b"", 0);
    pair.client_seals([(ALERT, &USER_CANCELED[..]), (APPLICATION_DATA, &b"text"[..])]);
    assert_eq!(pair.server_reads().unwrap(), b"text");
    pair.client_seals([(ALERT, &[2, 40][..])]);
    let error = pair.server_reads().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert!(pair.network.to_client.bytes.is_empty(), "an alert is not answered");
}

#[test]
fn an_end_inside_a_record_brings_no_text() {
    let mut pair = Pair::connect(0, b"", 0);
    pair.client_sends(b"whole");
    pair.client_sends(b"cut");
    pair.network.to_server.bytes.pop_back();
    pair.network.ended = true;
    assert_eq!(pair.server_reads().unwrap(), b"whole");
    assert_eq!(pair.server.read(&mut pair.network, &mut [0; 9]).unwrap(), Some(0));
}

#[test]
fn a_changed_record_is_refused() {
    let mut pair = Pair::connect(0, b"", 0);
    pair.client_sends(b"hello");
    *pair.network.to_server.bytes.back_mut().unwrap() ^= 1;
    assert_eq!(pair.refusal(), Some(AlertDescription::BadRecordMac));
    let mut pair = Pair::connect(0, b"", 0);
    pair.client_sends(b"hello");
    let first = pair.network.to_server.bytes.clone();
    pair.server_reads().unwrap();
    pair.network.to_server.bytes = first;
    assert_eq!(pair.refusal(), Some(AlertDescription::BadRecordMac), "sent twice");
}
