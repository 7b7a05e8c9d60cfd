import { notifyUser } from "fanfare/server";
import { z } from "zod";
import { privateProcedure, router } from "./trpc.js";
import { updateUserProfile } from "./users.js";

const updateProfileSchema = z.object({ name: z.string().min(1) });

export const userRouter = router({
  updateProfile: privateProcedure
    .input(updateProfileSchema)
    .mutation(async ({ ctx, input }) => {
      const updatedUser = await updateUserProfile(ctx.user.id, input);

      // Send real-time notification. Not awaited: the profile is updated, whether or not anybody could be told.
      notifyUser(ctx.user.id, {
        event: "profile_updated",
        data: { message: "Profile updated successfully" },
      });

      return updatedUser;
    }),
});

export const appRouter = router({ user: userRouter });

export type AppRouter = typeof appRouter;
