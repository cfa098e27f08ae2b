/** What a person can do about each type of error: of a job that failed, and of a call that did. */

const OPERATOR = "An operator can look it up in the runbook.";

/** Of jobs: the command line says the same (`advice.py`). */
const JOBS = {
  approval_rejected: "A person has rejected a step, or it was not approved in time: the step says who, and why. Retry the job to be asked again, or run it again from an earlier step.",
  budget_exceeded: "Nothing is broken: the next call could cost more than the job's or the key's budget allows. Run the job again from this step with a higher cost limit, or a shorter text.",
  budget_unknown: "The model has no price in prices.json, so a cost limit can't be kept. Run the job without one, or have the price added.",
  content_filtered: "The provider's filter stopped this text or its answer. Change the text, or use another model.",
  deadline_exceeded: "The message says what the job waited for last. When that is over, retry the job: it continues after its last completed step.",
  model_failed: "The provider could not finish the answer and does not say why. Retry the job. If it fails again, give the request id of its failed calls to the provider.",
  model_forbidden: "The account may not use the model that this job names. Name another one, or have the account allowed to use it.",
  model_not_found: "The provider has no model of the name that this job asks for. Correct the name: a model may also have been shut down.",
  model_refused: "The model declined to work on this text. Its answer, with the failed call, may say why. Change the text or the prompt.",
  model_request_refused: "The provider does not accept the request: the failed call has the cause. Most often the deployment's settings name a model or an API that does not fit.",
  text_too_long: "The text does not fit into the model's context or into the account's tokens per minute. Shorten it, or use another model. An operator can lower MaxInputTokens, so that long texts are split.",
  unknown_chain: "No version of the deployment that was running had this chain. Deploy it, and create the job again.",
  unknown_version: "A deployment changed the chain while the job ran, and its answers do not fit any more. Deploy a version that fits, run the job again from a step, or create it again.",
  unusable_answer: "Each answer was not what the step has to give. Compare the answers of the failed calls with their causes: often the prompt does not say what the checks ask for, or the model is too weak. Change one of them, and run again from this step.",
  worker_lost: "Workers crashed while they ran this job, and the reason is in the worker's log: most often memory. Shorten the text, or give the worker more memory. Then retry.",
};

/** Of calls; many of them are repeated automatically. */
const CALLS = {
  conflict: "Wait: the provider asks to send the call again.",
  connection_lost: "Wait: the connection broke while the answer came. If it happens again and again, something between the worker and the model closes connections.",
  credentials_unreadable: "Wait: AWS does not give the worker its credentials. Nothing is wrong with the job.",
  flex_unavailable: "Wait: there is no capacity for cheap flex calls now. The job changes to standard calls when its time for flex is over.",
  model_misconfigured: "The operator's turn: the settings allow no call to the model. The cause names the setting.",
  model_quota_exceeded: "The operator's turn: add credit to the account at the model's provider. The job continues automatically.",
  model_unauthorized: "The operator's turn: the provider refuses the API key. The job continues when it is replaced.",
  model_unavailable: "Wait: the model does not answer as it should, and the call is repeated.",
  overloaded: "Wait: the provider has too much to do. To continue sooner than planned, retry now.",
  rate_limited: "Wait: the account's limit for a minute or a day is used up. Fewer jobs at the same time, or a higher limit at the provider, prevent it.",
  secret_unreadable: "The operator's turn: the worker can't read the secret that holds the API key.",
  server_error: "Wait: the fault is the provider's. If it lasts, look at the provider's status page.",
  step_failed: "The chain's author's turn: the code of the step failed on this answer. The worker's log has the exception.",
  timeout: "Wait: the answer took too long. If it happens again and again, the answer is too long for the model's speed: lower the output, or raise the timeout.",
  unreachable: "The operator's turn if it lasts: nothing answers at the model's address. It may be mistyped, or not be running.",
  unreadable_answer: "Something other than a model answered, such as a proxy. Its text is below. If it lasts, check the model's address.",
};

const ALL = { __proto__: null, ...JOBS, ...CALLS };

/** Of jobs that fail again in the same way, unless something is changed. */
const LASTING = new Set(["budget_exceeded", "budget_unknown", "content_filtered", "model_forbidden", "model_not_found", "model_refused", "model_request_refused",
  "text_too_long", "unknown_chain", "unknown_version", "unusable_answer"]);

/** Whether a retry alone can help. */
export const canPass = (type) => !LASTING.has(type);

/** What to do about an error of this type. */
export const advice = (type) => ALL[type] ?? OPERATOR;

/** What to do about a failed call; null for an unknown type. */
export const callAdvice = (type) => ALL[type] ?? null;
