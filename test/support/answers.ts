/** The statuses of many answers, in order of size; what else they say is left unread. */
export async function statusesOf(answers: readonly Response[]): Promise<number[]> {
  for (const { body } of answers) await body?.cancel();
  return answers.map(({ status }) => status).toSorted((a, b) => a - b);
}
