//! Tests of answers: how long they wait, what they hold, and when they end.

use std::future::poll_fn;

use actix_web::body::BoxBody;
use actix_web::web;

use super::*;

const GATHERED: usize = 10 << 20;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

fn short(page: Page) -> Result<Page, Refused> {
    Ok(page)
}

fn long(mut page: Page) -> Result<Page, Refused> {
    while !page.pace.is_long() {
        page.pass()?;
    }
    page.json("done")
}

/// A short answer that much was gathered for.
async fn of_much(answers: &Answers) -> BoxBody {
    let job = |mut page: Page| -> Result<Page, Refused> {
        page.holds(GATHERED / 2)?;
        page.gathers(GATHERED / 2)?;
        page.json("short")
    };
    answers.compute(job).await.expect("room").into_body()
}

#[actix_web::test]
async fn what_was_gathered_is_given_back_before_the_answer_is_read() {
    let answers = Answers::new(Budget::new(64 << 20));
    let most = usize::try_from(answers.budget.limit(Purpose::Answer)).expect("a size");
    let mut bodies = Vec::new();
    for count in 1..=20 {
        bodies.push(of_much(&answers).await);
        assert_eq!(answers.budget.under_way(), (count * PIECE) as u64);
    }
    assert!(bodies.len() * GATHERED > most);
    drop(bodies);
    assert_eq!(answers.budget.under_way(), 0);
}

#[actix_web::test]
async fn a_small_answer_ends_too_if_nobody_takes_it() {
    let answers = Answers::new(Budget::new(64 << 20));
    let mut body = of_much(&answers).await;
    // Its timer begins.
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(READ_TIMEOUT - Duration::from_secs(1)).await;
    assert_eq!(answers.budget.under_way(), PIECE as u64);
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::task::yield_now().await;
    assert_eq!(answers.budget.under_way(), 0);
    let end = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await;
    assert!(end.is_some_and(|end| end.is_err()));
}

#[actix_web::test]
async fn the_timer_ends_with_the_answer() {
    let answers = Answers::new(Budget::new(64 << 20));
    let page = web::block(move || answers.begin()).await;
    let sending = AnswerBody::new(page.expect("a thread"));
    let end = sending.end.abort_handle();
    tokio::task::yield_now().await;
    assert!(!end.is_finished());
    drop(sending);
    tokio::task::yield_now().await;
    assert!(end.is_finished());
}

#[actix_web::test]
async fn short_answers_do_not_wait_for_long_ones() {
    let answers = Answers::new(Budget::new(64 << 20));
    let turn = answers.long.clone().acquire_owned().await;
    let under_way: Vec<_> = (0..4 * BEGINNING)
        .map(|_| {
            let answers = answers.clone();
            actix_web::rt::spawn(async move { answers.compute(long).await.is_ok() })
        })
        .collect();
    // These begin behind all of them.
    tokio::task::yield_now().await;
    for _ in 0..4 * BEGINNING {
        let answer = tokio::time::timeout(PATIENCE, answers.compute(short)).await;
        assert!(answer.expect("an answer in time").is_ok());
    }
    // All but the one that begins beside them wait among the long ones.
    assert!(MAX_LONG - answers.places.available_permits() >= under_way.len() - 1);
    assert!(under_way.iter().all(|long| !long.is_finished()));
    drop(turn);
    for long in under_way {
        assert!(long.await.expect("no panic"));
    }
}

#[actix_web::test]
async fn too_many_long_answers_are_told_to_come_again() {
    let answers = Answers::new(Budget::new(64 << 20));
    let response = answers.compute(long).await.expect("a place");
    assert_eq!(response.status(), StatusCode::OK);
    let places = answers.places.clone();
    let all = places.acquire_many_owned(MAX_LONG as u32).await;
    let refused = answers.compute(long).await.expect_err("no place");
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answers.compute(short).await.is_ok());
    drop(all);
    assert!(answers.compute(long).await.is_ok());
}

#[test]
fn nobody_has_a_turn_before_there_is_a_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let all = tokio::task::LocalSet::new();
    all.block_on(&runtime, async {
        let answers = Answers::new(Budget::new(64 << 20));
        let (free, is_free) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || is_free.recv().is_ok());
        let asked = answers.compute(short);
        tokio::pin!(asked);
        assert!(futures_util::poll!(&mut asked).is_pending());
        assert_eq!(answers.beginning.available_permits(), BEGINNING);
        free.send(()).expect("it waits");
        assert!(busy.await.expect("no panic"));
        assert!(asked.await.is_ok());
    });
}

#[actix_web::test]
async fn evaluations_wait_for_each_other_but_not_for_ever() {
    let answers = Answers::new(Budget::new(64 << 20));
    let mut running = Vec::new();
    for _ in 0..EVALUATIONS {
        running.push(answers.evaluation(PATIENCE).await.expect("room"));
    }
    let none = answers.evaluation(Duration::from_millis(1)).await;
    assert!(none.is_none(), "one too many");
    let waiting = answers.evaluation(PATIENCE);
    running.pop();
    assert!(waiting.await.is_some(), "one has ended");
}
