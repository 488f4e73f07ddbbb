# What MLflow's client for R puts on the wire, call by call, sent by the two libraries that it sends with:
# every value of a body becomes a text (so 100000 becomes "1e+05" and TRUE "TRUE"), what is NULL or empty at
# the top is left out, tables become lists of objects, and PATCH and DELETE have bodies.
# Its last line is what came back, as JSON, without what a server chose.

library(httr)

arguments <- commandArgs(trailingOnly = TRUE)
url <- arguments[1]
is_ours <- length(arguments) > 1
start <- 1700000000000
told <- list()

send <- function(verb, route, data = NULL, query = NULL) {
  body <- if (!is.null(data)) rapply(data, as.character, how = "replace")
  reply <- VERB(
    verb, paste0(url, "/api/2.0/mlflow/", route),
    query = query, body = body, encode = "json",
    add_headers("User-Agent" = "mlflow-r-client/3.6.0"), timeout(60)
  )
  is_json <- grepl("json", headers(reply)[["content-type"]])
  found <- if (is_json) jsonlite::fromJSON(content(reply, "text", encoding = "UTF-8"), simplifyVector = FALSE)
  structure(as.list(found), status = reply$status_code)
}
get <- function(route, ...) send("GET", route, query = list(...))
post <- function(route, ...) send("POST", route, data = list(...))
patch <- function(route, ...) send("PATCH", route, data = list(...))
delete <- function(route, ...) send("DELETE", route, data = list(...))
outcome <- function(reply) list(attr(reply, "status"), reply$error_code)
named <- function(entries) {
  found <- lapply(entries, function(each) each$value)
  names(found) <- vapply(entries, function(each) each$key, "")
  found[order(names(found))]
}
note <- function(name, value) told[[name]] <<- value

experiments <- function() {
  tags <- list(list(key = "team", value = "\u00e4ther"))
  id <- post("experiments/create", name = "of R", artifact_location = NULL, tags = tags)$experiment_id
  note("twice", outcome(post("experiments/create", name = "of R")))
  note("unknown", outcome(get("experiments/get-by-name", experiment_name = "not there")))
  post("experiments/set-experiment-tag", experiment_id = id, key = "kind", value = "trial & error")
  post("experiments/update", experiment_id = id, new_name = "by R")
  post("experiments/delete", experiment_id = id)
  found <- post("experiments/search",
    filter = "attribute.name = 'by R'", view_type = "DELETED_ONLY", max_results = 1000,
    order_by = list("attribute.name"), page_token = NULL
  )
  note("deleted", lapply(found$experiments, function(each) each$name))
  post("experiments/restore", experiment_id = id)
  back <- get("experiments/get", experiment_id = id)$experiment
  note("experiment", list(back$name, back$lifecycle_stage, named(back$tags)))
  id
}

run <- function(experiment, number) {
  tags <- list(list(key = "mlflow.user", value = "ann"), list(key = "mlflow.source.type", value = "LOCAL"))
  made <- post("runs/create",
    experiment_id = experiment, user_id = "ann", start_time = start + 1 + number, tags = tags
  )
  id <- made$run$info$run_uuid
  both <- list(run_uuid = id, run_id = id)
  log <- function(route, ...) do.call(post, c(route, both, list(...)))
  log("runs/log-parameter", key = "rate", value = as.character(number / 3))
  for (step in 0:2) {
    log("runs/log-metric", key = "loss", value = as.character(1 / (step + 1)), timestamp = start + 1, step = step)
  }
  log("runs/log-metric", key = "never", value = "NaN", timestamp = start + 1, step = 0)
  log("runs/log-metric", key = "far", value = "Infinity", timestamp = start + 1, step = 0)
  metrics <- data.frame(
    key = c("acc", "acc"), value = c(number / 4, 0.25), step = c(0, 1), timestamp = start + c(1, 2)
  )
  pairs <- data.frame(key = c("deep", "wide"), value = c("yes", "no"))
  note("batch", outcome(post("runs/log-batch", run_id = id, metrics = metrics, params = pairs, tags = NULL)))
  log("runs/set-tag", key = "kept", value = "a")
  log("runs/set-tag", key = "gone", value = "b")
  post("runs/delete-tag", run_id = id, key = "gone")
  log("runs/update", status = "FINISHED", end_time = start + 1001)
  id
}

runs <- function(experiment) {
  ids <- vapply(1:3, function(number) run(experiment, number), "")
  note("changed", outcome(post("runs/log-parameter", run_uuid = ids[1], run_id = ids[1], key = "rate", value = "9")))
  whole <- get("runs/get", run_uuid = ids[2], run_id = ids[2])$run
  note("run", list(
    whole$info$status, whole$info$start_time, whole$info$end_time, named(whole$data$params),
    named(whole$data$metrics), named(Filter(function(tag) tag$key != "mlflow.runName", whole$data$tags))
  ))
  latest <- named(whole$data$metrics)
  note("never", latest$never)
  note("far", latest$far)
  history <- get("metrics/get-history", run_uuid = ids[1], run_id = ids[1], metric_key = "loss")$metrics
  note("history", lapply(history, function(point) list(point$value, point$step, point$timestamp)))
  found <- post("runs/search",
    experiment_ids = list(experiment), filter = "metrics.acc > 0.1 and params.deep = 'yes'",
    run_view_type = "ACTIVE_ONLY", order_by = list("params.rate DESC")
  )
  note("found", lapply(found$runs, function(each) named(each$data$params)$rate))
  note("all", length(post("runs/search", experiment_ids = list(experiment), filter = NULL, order_by = list())$runs))
  note("wrong", outcome(post("runs/search", experiment_ids = list(experiment), filter = "metrics.acc >")))
  post("runs/delete", run_id = ids[3])
  note("refused", outcome(post("runs/set-tag", run_uuid = ids[3], run_id = ids[3], key = "k", value = "v")))
  post("runs/restore", run_id = ids[3])
  note("stage", get("runs/get", run_uuid = ids[3], run_id = ids[3])$run$info$lifecycle_stage)
  described <- jsonlite::toJSON(list(run_id = ids[1], artifact_path = "model", utc_time_created = "2026-01-01 10:00:00.00", model_uuid = "0123456789abcdef0123456789abcdef", flavors = list(crate = list(version = "0.1.0"))), auto_unbox = TRUE)
  note("model logged", outcome(post("runs/log-model", run_id = ids[1], model_json = described)))
  note("files", length(get("artifacts/list", run_uuid = ids[1], run_id = ids[1], path = NULL)$files))
  ids[1]
}

registry <- function(run) {
  tags <- list(list(key = "task", value = "fares"))
  made <- post("registered-models/create", name = "fares of R", tags = tags, description = "first")
  note("registered", list(made$registered_model$name, named(made$registered_model$tags)))
  post("registered-models/rename", name = "fares of R", new_name = "fares")
  note("described", patch("registered-models/update", name = "fares", description = "second")$registered_model$description)
  source <- paste0("runs:/", run, "/model")
  for (number in 1:2) {
    version <- post("model-versions/create",
      name = "fares", source = source, run_id = run, run_link = NULL, tags = NULL, description = "a version"
    )$model_version
    note(paste("version", number), list(version$version, version$status, version$run_id == run, version$description))
  }
  moved <- post("model-versions/transition-stage", name = "fares", version = "1", stage = "Staging")
  note("staged", moved$model_version$current_stage)
  latest <- get("registered-models/get-latest-versions", name = "fares", stages = list())$model_versions
  note("latest", sort(vapply(latest, function(each) paste(each$version, each$current_stage), "")))
  changed <- patch("model-versions/update", name = "fares", version = 1, description = "better")
  note("update", changed$model_version$description)
  post("registered-models/alias", name = "fares", alias = "champion", version = "1")
  note("champion", get("registered-models/alias", name = "fares", alias = "champion")$model_version$version)
  note("place", nchar(get("model-versions/get-download-uri", name = "fares", version = "1")$artifact_uri) > 0)
  note("deleted version", outcome(delete("model-versions/delete", name = "fares", version = "2")))
  note("gone", outcome(get("model-versions/get", name = "fares", version = 2)))
  note("deleted model", outcome(delete("registered-models/delete", name = "fares")))
}

# What MLflow's own server refuses of its client: a stage with a boolean, and a search for models by POST.
beyond <- function() {
  post("registered-models/create", name = "fares")
  for (number in c("1", "2")) {
    post("model-versions/create", name = "fares", source = "s3://bucket/fares", description = NULL)
    moved <- post("model-versions/transition-stage",
      name = "fares", version = number, stage = "Staging", archive_existing_versions = number == "2"
    )
    note(paste("moved", number), moved$model_version$current_stage)
  }
  note("archived", get("model-versions/get", name = "fares", version = 1)$model_version$current_stage)
  found <- post("registered-models/search", filter = "name = 'fares'", max_results = 100, order_by = list())
  note("searched", lapply(found$registered_models, function(each) each$name))
}

# Whole numbers that R writes with an exponent.
odd <- function(experiment) {
  made <- post("runs/create", experiment_id = experiment, user_id = "ann", start_time = start)
  id <- made$run$info$run_uuid
  logged <- post("runs/log-metric",
    run_uuid = id, run_id = id, key = "loss", value = "1e-05", timestamp = start, step = 100000
  )
  note("odd", outcome(logged))
  points <- get("metrics/get-history", run_uuid = id, run_id = id, metric_key = "loss")$metrics
  note("points", lapply(points, function(point) list(point$value, point$step, point$timestamp)))
  note("started", made$run$info$start_time)
}

experiment <- experiments()
odd(experiment)
registry(runs(experiment))
if (is_ours) beyond()
cat(jsonlite::toJSON(told, auto_unbox = TRUE, digits = 17, null = "null"), "\n")
