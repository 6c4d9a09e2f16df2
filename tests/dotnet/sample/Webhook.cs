using System;
using System.Security.Cryptography;
using System.Text;

namespace PgqueueSample
{
    /// <summary>
    /// Checks a callback (Standard Webhooks). Answer 401 when it is false. The same webhook-id can come again: remember those
    /// that you have handled.
    /// </summary>
    public static class Webhook
    {
        const int ToleranceSeconds = 300;

        public static bool IsGenuine(string id, string timestamp, string signatures, string body, string secret, DateTimeOffset now)
        {
            long seconds;
            if (id == null || signatures == null || !long.TryParse(timestamp, out seconds)
                || Math.Abs(now.ToUnixTimeSeconds() - seconds) > ToleranceSeconds)
            {
                return false;
            }
            var key = Convert.FromBase64String(secret.Substring("whsec_".Length));
            using (var hmac = new HMACSHA256(key))
            {
                var hash = hmac.ComputeHash(Encoding.UTF8.GetBytes(id + "." + timestamp + "." + body));
                var mine = Encoding.UTF8.GetBytes("v1," + Convert.ToBase64String(hash));
                foreach (var theirs in signatures.Split(' '))
                {
                    if (CryptographicOperations.FixedTimeEquals(mine, Encoding.UTF8.GetBytes(theirs)))
                    {
                        return true;
                    }
                }
            }
            return false;
        }
    }

    public static class WebhookSteps
    {
        // The example of the specification.
        const string Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        const string Id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        const string Timestamp = "1614265330";
        const string Signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        const string Body = "{\"test\": 2432232314}";

        public static void Run()
        {
            var then = DateTimeOffset.FromUnixTimeSeconds(1614265330);
            Check.Equal(true, Webhook.IsGenuine(Id, Timestamp, "v1,x " + Signature, Body, Secret, then), "a genuine callback");
            Check.Equal(false, Webhook.IsGenuine(Id, Timestamp, Signature, Body + " ", Secret, then), "another body");
            Check.Equal(false, Webhook.IsGenuine(Id, Timestamp, Signature, Body, Secret, then.AddMinutes(6)), "an old one");
        }
    }
}
