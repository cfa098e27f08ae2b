/** What a job waits for, in a few words. */

const WAITED = {
  retry: "waiting to retry", budget: "waiting for the next day", rate_limit: "waiting for the rate limit",
  account: "waiting for the model's account", deployment: "waiting for a deployment", approval: "waiting for a decision",
};

/** What the job waits for, for a list. */
export const waited = ({ reason }) => WAITED[reason] ?? `waiting (${reason})`;
