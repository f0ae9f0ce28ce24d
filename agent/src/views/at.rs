//! A view's rows as they were when it had taken in one record: they are made again up to there,
//! beside those that are kept, and asked.

use std::path::{Path, PathBuf};

use super::again::{make_again, refused};
use super::check::Failure;
use super::definition::{Definition, name_is_valid};
use super::file::{ViewFile, remove};
use super::keeper::make_in;
use super::notes::quoted;
use super::query::query;
use crate::api::{ApiError, Backend, ErrorCode, QueryRequest, ViewAt, ViewAtRequest, locate};
use crate::coordinates::Coordinates;

/// Answers a question to the rows that the view `name`, which is kept in `data`, had behind a
/// record.
///
/// # Errors
/// There is no such view or record, records before it are gone and that is not accepted, or the
/// question can't be answered.
pub async fn at<B: Backend>(
    backend: B,
    data: &Path,
    name: &str,
    wanted: ViewAtRequest,
) -> Result<ViewAt, ApiError> {
    let coordinates = wanted.coordinates.parse::<Coordinates>();
    let coordinates = coordinates.map_err(|error| {
        ApiError::new(ErrorCode::BadRequest, format!("`{}`: {error}", wanted.coordinates))
    })?;
    let (record, to) = locate(&backend, &coordinates).await?;
    let coordinates = record.coordinates;
    let (views, made, view) = (data.join(super::FILE_NAME), path(data, name), name.to_owned());
    let runtime = tokio::runtime::Handle::current();
    let making = tokio::task::spawn_blocking(move || {
        let (definition, lacked) = stored(&views, &view)?;
        remove(&made);
        let file = empty(&made, &definition)?;
        let progress = make_again((&file, &definition), (&backend, &runtime), to)?;
        let sql = match wanted.sql {
            Some(sql) => sql,
            None => format!("SELECT * FROM {}", quoted(&shown(&file, &view)?)),
        };
        drop(file);
        let lacking = progress.lacking.saturating_sub(lacked);
        if lacking > 0 && !wanted.accept_loss {
            let text =
                format!("up to {lacking} records that the rows were made of are gone from the log");
            let hint = "`--accept-loss`, or `accept_loss`, shows the rows without them";
            return Err(ApiError::new(ErrorCode::Conflict, text).with_hint(hint));
        }
        let (rows_max, time_max_ms) = (wanted.rows_max, wanted.time_max_ms);
        let asked =
            query(&made, &QueryRequest { rows_max, time_max_ms, ..QueryRequest::new(sql) })?;
        Ok(ViewAt {
            view,
            coordinates: coordinates.to_string(),
            commit: to.commit,
            records: progress.records,
            lacking,
            columns: asked.columns,
            rows: asked.rows,
            truncated: asked.truncated,
        })
    });
    let answer = making.await;
    remove_past(data, name);
    answer.unwrap_or_else(|_| Err(ApiError::new(ErrorCode::Internal, "making the rows failed")))
}

/// Takes away what a look into the past left on the disk.
pub(super) fn remove_past(data: &Path, name: &str) {
    remove(&path(data, name));
}

fn path(data: &Path, name: &str) -> PathBuf {
    data.join(format!("views.{name}.past.db"))
}

/// What a view is, and how many records its rows lack.
fn stored(views: &Path, name: &str) -> Result<(Definition, u64), ApiError> {
    let unknown = || ApiError::new(ErrorCode::NotFound, format!("there is no view `{name}`"));
    if !name_is_valid(name) || !views.exists() {
        return Err(unknown());
    }
    let sql = format!(
        "SELECT v.definition, coalesce(p.lacking, 0) FROM _views v LEFT JOIN _positions p \
         USING(view) WHERE view = '{name}'"
    );
    let reply = query(views, &QueryRequest::new(sql))?;
    let row = reply.rows.first().ok_or_else(unknown)?;
    let definition = row.first().and_then(|text| serde_json::from_str(text.as_str()?).ok());
    let lacking = row.get(1).and_then(serde_json::Value::as_u64);
    definition.zip(lacking).ok_or_else(unknown)
}

/// A view without rows, in a file of its own.
fn empty(path: &Path, definition: &Definition) -> Result<ViewFile, ApiError> {
    let conflict = |text: String| ApiError::new(ErrorCode::Conflict, text);
    if definition.is_rule() {
        return Err(conflict(format!("`{}` is a rule, which has no rows", definition.name)));
    }
    let (file, _) = ViewFile::open(path).map_err(refused)?;
    make_in(&file, definition, 1, &[]).map_err(|failure| match failure {
        Failure::File(error) => refused(error),
        Failure::Invalid(invalid) => conflict(invalid.to_string()),
    })?;
    Ok(file)
}

/// The table or SQL view that is shown if nothing is asked: the one with the view's name, or the
/// only one.
fn shown(file: &ViewFile, view: &str) -> Result<String, ApiError> {
    let objects = file.objects(view).map_err(refused)?;
    let rows = objects.into_iter().filter(|one| one.kind == "table" || one.kind == "view");
    let names: Vec<String> = rows.map(|one| one.name).collect();
    if names.iter().any(|name| name == view) {
        return Ok(view.to_owned());
    }
    match &names[..] {
        [only] => Ok(only.clone()),
        _ => {
            let text = format!("which rows of `{view}`? It has {}", names.join(", "));
            let hint = "ask with `--sql`, or `sql`, such as \"SELECT * FROM …\"";
            Err(ApiError::new(ErrorCode::BadRequest, text).with_hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::definition::tests::{definition, latest};
    use crate::views::keeper::tests::{Scene, has};

    fn wanted(offset: u64) -> ViewAtRequest {
        let coordinates = format!("ship-17/ais/0@{offset}");
        ViewAtRequest { sql: None, ..ViewAtRequest::new(coordinates) }
    }

    #[tokio::test]
    async fn the_rows_are_those_that_the_records_up_to_one_made() {
        let scene = Scene::new();
        // Each key is there again later, so that the rows of the past are others.
        scene.append((0..2_000).chain(0..2_000)).await;
        let two = "CREATE TABLE one(k); CREATE TABLE other(k)";
        let two = definition("two", two, "INSERT INTO one VALUES(:key)", &[]);
        let (views, keeping) = scene.keep(&[latest(), two]);
        scene.until(&views, has("latest", 4_000)).await;
        scene.until(&views, has("two", 4_000)).await;
        let (data, node) = (scene.folder.path(), scene.node.clone());
        let past = at(node.clone(), data, "latest", wanted(1_500)).await.unwrap();
        assert_eq!((past.records, past.lacking, past.rows.len()), (1_501, 0, 1_000));
        assert!(past.truncated && past.columns.len() == 7);
        assert_eq!(past.coordinates, "ship-17/ais/0@1500~1f00ba5e");
        let count = |sql: &str| ViewAtRequest { sql: Some(sql.to_owned()), ..wanted(2_700) };
        let count = count("SELECT count(*), max(off) FROM latest");
        let past = at(node.clone(), data, "latest", count).await.unwrap();
        assert_eq!(past.rows, [[2_000, 2_700]]);
        let error = |view, wanted| {
            let node = node.clone();
            async move { at(node, data, view, wanted).await.unwrap_err().to_string() }
        };
        assert!(error("latest", wanted(4_000)).await.contains("no record ship-17/ais/0@4000"));
        assert!(error("lates", wanted(1)).await.contains("there is no view `lates`"));
        assert!(error("two", wanted(1)).await.contains("It has one, other"));
        let other = ViewAtRequest { coordinates: "ship-17/ais/0@1~7".to_owned(), ..wanted(1) };
        assert!(error("latest", other).await.contains("no record"), "another epoch");
        keeping.stop().await;
        let left = std::fs::read_dir(data).unwrap();
        let left = left.filter(|one| {
            one.as_ref().unwrap().file_name().to_string_lossy().starts_with("views.latest")
        });
        assert_eq!(left.count(), 0, "nothing is left on the disk");
    }
}
