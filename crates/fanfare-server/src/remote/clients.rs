//! `fanfare clients` and `fanfare disconnect`: who is connected, and the end of it.

use super::{Failure, ask, json_line, print};
use crate::cli::{ClientsOptions, DisconnectOptions};
use crate::terminal::{age, counted, is_for_people, note, now_ms, table};
use fanfare::client::ClientInfo;
use serde_json::json;

pub(crate) async fn clients(options: ClientsOptions) -> Result<(), Failure> {
    let client = ask(&options.answered)?;
    let people = is_for_people(options.answered.json);
    let mut after: Option<String> = None;
    let mut shown = 0;
    loop {
        let page = client.clients(options.user.as_deref(), after.as_deref()).await?;
        shown += page.clients.len();
        if people {
            // Each page is a table of its own: a server can have a million connections.
            if !page.clients.is_empty() {
                print(&for_people(&page.clients))?;
            }
        } else {
            print(&page.clients.iter().map(json_line).collect::<String>())?;
        }
        if page.next.is_none() || page.next == after {
            break;
        }
        after = page.next;
    }
    if people && !options.answered.connect.quiet {
        note(&counted(shown as u64, "client"));
    }
    Ok(())
}

fn for_people(clients: &[ClientInfo]) -> String {
    let now = now_ms();
    let mut rows = vec![["CLIENT", "USER", "SESSION", "TOPICS", "METADATA", "CONNECTED"].map(str::to_owned).to_vec()];
    for client in clients {
        let metadata: Vec<_> = client.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
        rows.push(vec![
            client.client_id.clone(),
            client.user_id.clone().unwrap_or_default(),
            client.session_id.clone().unwrap_or_default(),
            client.topics.join(" "),
            metadata.join(" "),
            age(now.saturating_sub(client.connected_at)),
        ]);
    }
    table(&rows)
}

pub(crate) async fn disconnect(options: DisconnectOptions) -> Result<(), Failure> {
    let client = ask(&options.answered)?;
    let disconnected = match (&options.client, &options.user) {
        (Some(id), _) => u64::from(client.disconnect_client(id).await?),
        (None, user) => client.disconnect_user(user.as_deref().unwrap_or_default()).await?,
    };
    if options.client.is_some() && disconnected == 0 {
        return Err(Failure::Missing("no client with this id is connected".to_owned()));
    }
    if options.answered.connect.quiet {
        return Ok(());
    }
    let people = is_for_people(options.answered.json);
    print(&if people {
        format!("Disconnected {}\n", counted(disconnected, "client"))
    } else {
        json_line(&json!({ "disconnected": disconnected }))
    })
}
