//! The free functions over the process-wide manager: from plain threads, with the payloads of the golden file.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod support;

use fanfare::{Activity, ChangeType, ConnectionOptions, JobResult, Level, MetricValue, Severity, SseEvent, SseManager};
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use support::{config, fixture};

/// The process-wide manager, for one test at a time: broadcasts reach everybody.
fn manager() -> (SseManager, MutexGuard<'static, ()>) {
    static MADE: OnceLock<SseManager> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    (MADE.get_or_init(|| fanfare::initialize_sse(config()).unwrap()).clone(), guard)
}

#[test]
fn there_is_one_manager_and_it_is_made_once() {
    let (manager, _guard) = manager();
    let again = fanfare::initialize_sse(config());
    assert!(matches!(again, Err(fanfare::ConfigError::AlreadyInitialized)));
    let connection = manager.create_connection(ConnectionOptions::default()).unwrap();
    assert_eq!(fanfare::sse_manager().unwrap().stats().total_clients, 1);
    drop(connection);
}

fn words<'a>(args: &'a Value, key: &str) -> Option<Vec<&'a str>> {
    Some(args.get(key)?.as_array()?.iter().map(|user| user.as_str().unwrap()).collect())
}

fn parsed<T: Copy>(args: &Value, key: &str, known: &[T], text: fn(T) -> &'static str) -> Option<T> {
    let wanted = args.get(key)?.as_str()?;
    Some(*known.iter().find(|word| text(**word) == wanted).unwrap())
}

/// Calls the function of a golden case.
fn call(function: &str, args: &Value) -> usize {
    let text = |key: &str| args[key].as_str().unwrap();
    let maybe = |key: &str| args.get(key).and_then(Value::as_str);
    let value = |key: &str| args.get(key).cloned();
    let users = words(args, "targetUsers");
    let users = users.as_deref();
    let sent = match function {
        "systemNotification" => {
            let level = parsed(args, "level", &[Level::Info, Level::Warning, Level::Error], Level::as_str);
            fanfare::system_notification(text("message"), level)
        }
        "realtimeUpdate" => fanfare::realtime_update(text("type"), &args["data"], users),
        "progressUpdate" => {
            let progress = args["progress"].as_f64().unwrap();
            fanfare::progress_update(text("operationId"), progress, maybe("message"), maybe("userId"))
        }
        "successNotification" => fanfare::success_notification(text("message"), value("data"), maybe("userId")),
        "errorNotification" => fanfare::error_notification(text("error"), value("context"), maybe("userId")),
        "notifyJobCompletion" => {
            let result = parsed(args, "result", &[JobResult::Success, JobResult::Error], JobResult::as_str);
            fanfare::notify_job_completion(text("jobId"), text("userId"), result.unwrap(), value("details"))
        }
        "updateOperationProgress" => fanfare::update_operation_progress(
            text("operationId"),
            text("userId"),
            args["progress"].as_f64().unwrap(),
            maybe("message"),
            value("metadata"),
        ),
        "announceSystemUpdate" => {
            let known = [Severity::Info, Severity::Warning, Severity::Critical];
            let severity = parsed(args, "severity", &known, Severity::as_str);
            fanfare::announce_system_update(text("title"), text("message"), severity, users)
        }
        "notifyDataChange" => {
            let known = [ChangeType::Created, ChangeType::Updated, ChangeType::Deleted];
            let change = parsed(args, "changeType", &known, ChangeType::as_str).unwrap();
            let affected = words(args, "affectedUsers");
            fanfare::notify_data_change(
                text("entityType"),
                text("entityId"),
                change,
                &args["data"],
                affected.as_deref(),
            )
        }
        "notifyNewMessage" => fanfare::notify_new_message(
            text("conversationId"),
            text("senderId"),
            &words(args, "recipientIds").unwrap(),
            text("messagePreview"),
            value("metadata"),
        ),
        "notifyUserActivity" => {
            let known = [Activity::Online, Activity::Offline, Activity::Typing, Activity::Idle];
            let activity = parsed(args, "activity", &known, Activity::as_str).unwrap();
            let context = words(args, "contextUsers");
            fanfare::notify_user_activity(text("userId"), activity, context.as_deref(), value("metadata"))
        }
        "notifyMetricsUpdate" => {
            let value = match &args["value"] {
                Value::String(text) => MetricValue::Text(text.clone()),
                number => MetricValue::Number(number.as_f64().unwrap()),
            };
            fanfare::notify_metrics_update(text("metricType"), value, args.get("change").and_then(Value::as_f64), users)
        }
        other => panic!("no function {other}"),
    };
    sent.unwrap()
}

/// Users that a golden target names; `None` is everybody.
fn named(target: &Value) -> Option<Vec<String>> {
    if target.get("all").is_some() {
        return None;
    }
    let users = target.get("userIds").and_then(Value::as_array).cloned();
    let users = users.unwrap_or_else(|| vec![target["userId"].clone()]);
    Some(users.iter().map(|user| user.as_str().unwrap().to_owned()).collect())
}

#[test]
fn every_helper_called_from_a_plain_thread_sends_the_golden_payload() {
    let (manager, _guard) = manager();
    // For reading only: the functions themselves are called where there is no runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut functions = std::collections::BTreeSet::new();
    for case in fixture("helpers.json")["cases"].as_array().unwrap() {
        if case.get("error").is_some() {
            continue;
        }
        let name = format!("{}: {}", case["function"], case["name"]);
        let users = named(&case["target"]);
        let everybody = vec!["somebody".to_owned(), "else".to_owned()];
        let mut connections: Vec<_> = users
            .as_ref()
            .unwrap_or(&everybody)
            .iter()
            .map(|user| {
                let options = ConnectionOptions { user_id: Some(user.clone()), ..ConnectionOptions::default() };
                manager.create_connection(options).unwrap()
            })
            .collect();
        let outsider = manager.create_connection(ConnectionOptions::default()).unwrap();
        let function = case["function"].as_str().unwrap();
        let expected = connections.len() + usize::from(users.is_none());
        let (args, before) = (case["args"].clone(), manager.cursor());
        let called = function.to_owned();
        let sent = std::thread::spawn(move || call(&called, &args)).join().unwrap();
        assert_eq!(sent, expected, "{name}");
        let kept = manager.cursor() != before;
        assert_eq!(
            kept,
            case["ephemeral"] == false && !case.get("nobody").is_some_and(|nobody| nobody == true),
            "{name}"
        );
        for connection in &mut connections {
            let mut data = runtime.block_on(connection.expect_event(case["event"].as_str().unwrap()));
            assert!(data.as_object_mut().unwrap().remove("timestamp").is_some_and(|at| at.is_u64()), "{name}");
            assert_eq!(data, case["data"], "{name}");
        }
        functions.insert(function.to_owned());
        drop(outsider);
    }
    assert_eq!(functions.len(), 12, "{functions:?}");
}

#[test]
fn the_three_general_functions_count_whom_they_reach() {
    let (manager, _guard) = manager();
    let connect = |user: &str| {
        let options = ConnectionOptions { user_id: Some(user.to_owned()), ..ConnectionOptions::default() };
        manager.create_connection(options).unwrap()
    };
    let _connections = [connect("ann"), connect("ann"), connect("bob")];
    let event = || SseEvent::new("n", json!({ "message": "m" }));
    assert_eq!(fanfare::broadcast(event()), Ok(3));
    assert_eq!(fanfare::notify_user("ann", event()), Ok(2));
    assert_eq!(fanfare::notify_user("absent", event()), Ok(0));
    assert_eq!(fanfare::notify_users(&["ann", "bob", "bob"], event()), Ok(3), "each connection once");
    assert_eq!(fanfare::notify_users(&Vec::<String>::new(), event()), Ok(0), "an empty list is nobody");
}

#[test]
fn numbers_out_of_range_are_refused_and_never_panic() {
    let (manager, _guard) = manager();
    let before = manager.stats().total_events_published;
    for progress in [-0.001, 100.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(fanfare::progress_update("op", progress, None, None).is_err(), "{progress}");
        assert!(fanfare::update_operation_progress("op", "ann", progress, None, None).is_err(), "{progress}");
    }
    for number in [f64::NAN, f64::INFINITY] {
        assert!(fanfare::notify_metrics_update("cpu", number, None, None).is_err());
        assert!(fanfare::notify_metrics_update("cpu", 1, Some(number), None).is_err());
    }
    assert!(fanfare::notify_user("", SseEvent::new("n", 1)).is_err());
    assert!(fanfare::realtime_update("x", "x".repeat(300_000), None).is_err(), "too large");
    assert_eq!(manager.stats().total_events_published, before);
    assert!([0.0, 100.0, 33.3].iter().all(|progress| fanfare::progress_update("op", *progress, None, None).is_ok()));
}

#[test]
fn they_may_be_called_from_many_threads_at_once() {
    let (manager, _guard) = manager();
    let before = manager.stats().total_events_published;
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                for number in 0..200 {
                    fanfare::realtime_update("n", number, None).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(manager.stats().total_events_published - before, 1_600);
}
