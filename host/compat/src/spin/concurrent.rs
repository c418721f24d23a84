//! The asynchronous functions, which a guest may call while others of its calls wait.

use wasmtime::component::{Accessor, LinkerInstance};

use super::connection::Open;
use super::task::Task;
use super::types::{Error, Value};
use super::{Getter, This, begin_open, streams};

/// Define the asynchronous functions of version 3.1.
pub(super) fn add_to_instance<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, T>,
    get: Getter<T>,
) -> wasmtime::Result<()> {
    instance.func_wrap_concurrent(
        "[static]connection.open-async",
        move |accessor, (database,): (String,)| {
            Box::pin(async move { Ok((open(accessor, get, database).await?,)) })
        },
    )?;
    instance.func_wrap_concurrent(
        "[method]connection.execute-async",
        move |accessor, (this, statement, parameters): (This, String, Vec<Value>)| {
            Box::pin(async move {
                let open = find(accessor, get, &this)?;
                let place =
                    accessor.with(|mut access| get(access.data_mut()).ctx.take_cursor_place());
                let place = match place {
                    Ok(place) => place,
                    Err(error) => return Ok((Err(Error::from(error)),)),
                };
                let given = (statement, parameters);
                Ok((streams::execute(accessor, open, place, given).await?,))
            })
        },
    )?;
    instance.func_wrap_concurrent(
        "[method]connection.last-insert-rowid-async",
        move |accessor, (this,): (This,)| {
            Box::pin(async move {
                let open = find(accessor, get, &this)?;
                let task = Task::spawn(async move { open.last_insert_rowid().await });
                Ok((task.await??,))
            })
        },
    )?;
    instance.func_wrap_concurrent(
        "[method]connection.changes-async",
        move |accessor, (this,): (This,)| {
            Box::pin(async move {
                let open = find(accessor, get, &this)?;
                let task = Task::spawn(async move { open.changes().await });
                Ok((task.await??,))
            })
        },
    )
}

async fn open<T: Send + 'static>(
    accessor: &Accessor<T>,
    get: Getter<T>,
    database: String,
) -> wasmtime::Result<Result<This, Error>> {
    let opening = accessor.with(|mut access| begin_open(get(access.data_mut()).ctx, &database));
    match Task::spawn(opening).await.map_err(Error::from).flatten() {
        Ok(open) => {
            Ok(Ok(accessor.with(|mut access| {
                get(access.data_mut()).table.push(open)
            })?))
        }
        Err(error) => Ok(Err(error)),
    }
}

fn find<T: Send + 'static>(
    accessor: &Accessor<T>,
    get: Getter<T>,
    this: &This,
) -> wasmtime::Result<Open> {
    accessor.with(|mut access| Open::of(&get(access.data_mut()), this))
}
